// Matrices of low rank.

#ifndef FEDLB_PLUGINS_COMPRESSION_POWERSGD_H_
#define FEDLB_PLUGINS_COMPRESSION_POWERSGD_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "compression/tensor_codec.h"
#include "fedlb/param_schema.h"

namespace fedlb::compression {

struct PowerSgdOptions {
  int64_t rank = 4;
  bool error_feedback = true;
};

// T. Vogels et al., "PowerSGD: Practical Low-Rank Gradient Compression for
// Distributed Optimization", NeurIPS 2019, Algorithm 1, on each client's own
// matrices M (first dimension by the rest), since clients of a federation do
// not meet within a round: P = orthonormal(M Q), Q = M^T P, and M becomes P
// Q^T. With one client it is the paper's. Q starts the next round where it
// ended this one. Vectors, and matrices that would not become half as small,
// travel as they are.
class PowerSgd final : public TensorCodec {
 public:
  using Options = PowerSgdOptions;
  static constexpr char kName[] = "powersgd";
  static constexpr char kSummary[] =
      "Sends matrices as products of two of low rank, with error feedback.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<PowerSgd>> Create(
      const Options& options, const ComponentContext& context);

  int64_t BytesPerClient(const TensorLayout& layout) const override;

 private:
  PowerSgd(const Options& options, uint64_t seed)
      : TensorCodec(kName, options.error_feedback, seed), options_(options) {}

  absl::StatusOr<TensorList> Encode(const std::vector<Source>& tensors,
                                    const CodecKey& key,
                                    ComponentState& state) const override;
  absl::Status Decode(const TensorList& encoded, const CodecKey& key,
                      const std::vector<Target>& tensors) const override;

  const Options options_;
};

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_POWERSGD_H_
