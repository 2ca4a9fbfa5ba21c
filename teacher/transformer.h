// A teacher that weighs the parts of a gradient against each other.

#ifndef FEDLB_TEACHER_TRANSFORMER_H_
#define FEDLB_TEACHER_TRANSFORMER_H_

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "fedlb/component.h"
#include "fedlb/param_schema.h"
#include "fedlb/tensor_list.h"
#include "network_teacher.h"

namespace fedlb::teacher {

struct TransformerOptions : NetworkTeacherOptions {
  int64_t tokens = 64;
  int64_t width = 32;
  int64_t heads = 2;
  int64_t layers = 2;
};

// An encoder (A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017,
// section 3, normalised before each half of a layer as in R. Xiong et al., ICML
// 2020) whose tokens are pieces of the gradient, described by their norms,
// their place in the model, and the step's learning rate, K, gradient change
// and phase. It answers one gain for each:
//   T(g)_i = a K exp(h_i) g_i, with a constant a.
//
// Pairs are kept as two numbers for every token, besides its description.
class Transformer final : public NetworkTeacher {
 public:
  using Options = TransformerOptions;
  static constexpr char kName[] = "transformer";
  static constexpr char kSummary[] =
      "Gives every part of the gradient a gain of its own, by a transformer "
      "encoder over the norms of all parts.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Transformer>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Transformer(const Options& options, uint64_t seed)
      : NetworkTeacher(options, seed), options_(options) {}

  Network Describe(const TensorLayout& layout) const override;
  TensorList MakeExample(const at::Tensor& gradient,
                         const at::Tensor& displacement,
                         at::Tensor& features) const override;
  at::Tensor Moments(const at::Tensor& features,
                     const TensorList& example) const override;
  void Apply(const at::Tensor& features, at::Tensor& rows) const override;

  // exp(h) [tokens].
  at::Tensor Gains(const at::Tensor& features) const;

  const Options options_;
};

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_TRANSFORMER_H_
