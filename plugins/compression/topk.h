// The largest values, and nothing else.

#ifndef FEDLB_PLUGINS_COMPRESSION_TOPK_H_
#define FEDLB_PLUGINS_COMPRESSION_TOPK_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "compression/tensor_codec.h"
#include "fedlb/param_schema.h"

namespace fedlb::compression {

struct TopKOptions {
  double ratio = 0.01;
  bool error_feedback = true;
};

// Of each tensor the max(1, floor(ratio d)) values of largest magnitude with
// their indices: 8 bytes each. S. U. Stich et al., "Sparsified SGD with
// Memory", NeurIPS 2018. Of equal magnitudes the first in the tensor go.
class TopK final : public TensorCodec {
 public:
  using Options = TopKOptions;
  static constexpr char kName[] = "topk";
  static constexpr char kSummary[] =
      "Sends the values of largest magnitude, with error feedback.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<TopK>> Create(
      const Options& options, const ComponentContext& context);

 private:
  TopK(const Options& options, uint64_t seed)
      : TensorCodec(kName, options.error_feedback, seed), options_(options) {}

  absl::StatusOr<TensorList> Encode(const std::vector<Source>& tensors,
                                    const CodecKey& key,
                                    ComponentState& state) const override;
  absl::Status Decode(const TensorList& encoded, const CodecKey& key,
                      const std::vector<Target>& tensors) const override;

  const Options options_;
};

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_TOPK_H_
