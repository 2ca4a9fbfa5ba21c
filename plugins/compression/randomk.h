// Values of random places.

#ifndef FEDLB_PLUGINS_COMPRESSION_RANDOMK_H_
#define FEDLB_PLUGINS_COMPRESSION_RANDOMK_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "compression/tensor_codec.h"
#include "fedlb/param_schema.h"

namespace fedlb::compression {

struct RandomKOptions {
  double ratio = 0.01;
  bool unbiased = false;
};

// Of each tensor max(1, floor(ratio d)) values at places that client and server
// draw from the same key, so that no indices travel: 4 bytes each. Unbiased,
// the values are multiplied by d / k; otherwise they travel as they are, with
// error feedback (S. U. Stich et al., "Sparsified SGD with Memory", NeurIPS
// 2018).
class RandomK final : public TensorCodec {
 public:
  using Options = RandomKOptions;
  static constexpr char kName[] = "randomk";
  static constexpr char kSummary[] =
      "Sends the values of random places, the same for a client and the "
      "server.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<RandomK>> Create(
      const Options& options, const ComponentContext& context);

 private:
  RandomK(const Options& options, uint64_t seed)
      : TensorCodec(kName, !options.unbiased, seed), options_(options) {}

  absl::StatusOr<TensorList> Encode(const std::vector<Source>& tensors,
                                    const CodecKey& key,
                                    ComponentState& state) const override;
  absl::Status Decode(const TensorList& encoded, const CodecKey& key,
                      const std::vector<Target>& tensors) const override;

  // The places of tensor number `index` that are sent.
  std::vector<int64_t> Places(const CodecKey& key, size_t index,
                              size_t count) const;

  const Options options_;
};

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_RANDOMK_H_
