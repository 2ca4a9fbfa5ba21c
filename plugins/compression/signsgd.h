// One bit per value.

#ifndef FEDLB_PLUGINS_COMPRESSION_SIGNSGD_H_
#define FEDLB_PLUGINS_COMPRESSION_SIGNSGD_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "compression/tensor_codec.h"
#include "fedlb/param_schema.h"

namespace fedlb::compression {

struct SignSgdOptions {
  bool error_feedback = true;
};

// A tensor p becomes |p|_1 / d sign(p): S. P. Karimireddy et al., "Error
// Feedback Fixes SignSGD and other Gradient Compression Schemes", ICML 2019,
// Algorithm 1. Without error feedback it is a scaled signSGD (J. Bernstein et
// al., ICML 2018). Zero counts as positive.
class SignSgd final : public TensorCodec {
 public:
  using Options = SignSgdOptions;
  static constexpr char kName[] = "signsgd";
  static constexpr char kSummary[] =
      "Sends signs, and the mean magnitude of each tensor.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<SignSgd>> Create(
      const Options& options, const ComponentContext& context);

 private:
  SignSgd(const Options& options, uint64_t seed)
      : TensorCodec(kName, options.error_feedback, seed) {}

  absl::StatusOr<TensorList> Encode(const std::vector<Source>& tensors,
                                    const CodecKey& key,
                                    ComponentState& state) const override;
  absl::Status Decode(const TensorList& encoded, const CodecKey& key,
                      const std::vector<Target>& tensors) const override;
};

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_SIGNSGD_H_
