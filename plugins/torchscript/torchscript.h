// A model that a Python program wrote as TorchScript.

#ifndef FEDLB_PLUGINS_TORCHSCRIPT_TORCHSCRIPT_H_
#define FEDLB_PLUGINS_TORCHSCRIPT_TORCHSCRIPT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/model.h"
#include "fedlb/param_schema.h"

namespace fedlb::torchscript {

struct TorchScriptOptions {
  std::string path;
  bool trust_file = false;
};

// The parameters and buffers are the module's own tensors under the module's
// names, cast to the context's type where they are floating-point. Tensors that
// several names share stand once, under the first; parameters that require no
// gradient stand among the buffers.
//
// A module whose forward draws random numbers (dropout) takes them from
// LibTorch's default generator, which all threads share. Training passes of
// such modules therefore run one at a time, each with the generator seeded for
// it, so that the number of workers changes no bit. So that it changes none
// either how often a module ran before, the interpreter does not optimise.
class TorchScript final : public Model {
 public:
  using Options = TorchScriptOptions;
  static constexpr char kName[] = "torchscript";
  static constexpr char kSummary[] =
      "A module saved by torch.jit.save, with its own weights.";

  static ParamSchema<Options> Schema();
  // kConfig without trust_file, or where the module does not take the
  // dataset's examples or does not give its classes; kInputFile naming a file
  // that is missing, damaged or no module with parameters.
  static absl::StatusOr<std::unique_ptr<TorchScript>> Create(
      const Options& options, const ComponentContext& context);

  ~TorchScript() override;

  void SeedForward(uint64_t seed) override;

 private:
  struct Module;  // keeps LibTorch's compiler out of this header

  TorchScript(std::unique_ptr<Module> module, const ComponentContext& context);

  // Registers the module's tensors.
  absl::Status AddTensors(const ComponentContext& context);
  // One evaluation of an example of zeros.
  absl::Status Probe(const ComponentContext& context);

  at::Tensor DoForward(const at::Tensor& inputs) override;
  at::Tensor Run(const at::Tensor& inputs, bool training);

  const std::unique_ptr<Module> module_;
  const int64_t num_classes_;
  uint64_t forward_seed_;
  int64_t num_passes_ = 0;  // since the last SeedForward
};

}  // namespace fedlb::torchscript

#endif  // FEDLB_PLUGINS_TORCHSCRIPT_TORCHSCRIPT_H_
