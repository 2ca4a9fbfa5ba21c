// Two compressors, and a rule for when to use which.

#ifndef FEDLB_PLUGINS_COMPRESSION_ADAPTIVE_H_
#define FEDLB_PLUGINS_COMPRESSION_ADAPTIVE_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/compressor.h"
#include "fedlb/config_table.h"
#include "fedlb/param_schema.h"

namespace fedlb::compression {

enum class MildWhen { kCritical, kLossy };

struct AdaptiveOptions {
  MildWhen mild_when = MildWhen::kCritical;
  double min_kept = 0.5;
  ConfigTable mild;
  ConfigTable strong;
};

// mild_when = "critical": compresses mildly while the critical-phase detector
// says so, strongly otherwise. S. Agarwal et al., "Accordion: Adaptive Gradient
// Communication via Critical Learning Regime Identification", MLSys 2021.
//
// mild_when = "lossy": compresses strongly as long as that keeps at least
// min_kept of the squared norm of what there is to send, mildly otherwise.
// S. Tyagi, M. Swany, "GraVAC: Adaptive Compression for Communication-Efficient
// Distributed DL Training", IEEE CLOUD 2023, whose gain is this share.
//
// Both share one residual, so that what one owes the other sends.
class Adaptive final : public Compressor {
 public:
  using Options = AdaptiveOptions;
  static constexpr char kName[] = "adaptive";
  static constexpr char kSummary[] =
      "Compresses mildly when it matters, and strongly otherwise.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Adaptive>> Create(
      const Options& options, const ComponentContext& context);

  absl::Status Compress(Update& update,
                        ComponentState& residual) const override;
  absl::Status Decompress(const TensorLayout& layout,
                          Update& update) const override;
  int64_t BytesPerClient(const TensorLayout& layout) const override;

 private:
  Adaptive(const Options& options, std::unique_ptr<Compressor> mild,
           std::unique_ptr<Compressor> strong)
      : options_(options), mild_(std::move(mild)), strong_(std::move(strong)) {}

  // Whether `compressed`, by the strong one, keeps enough of the update and of
  // what is owed.
  absl::StatusOr<bool> KeepsEnough(const Update& update,
                                   const ComponentState& residual,
                                   const Update& compressed) const;

  const Options options_;
  const std::unique_ptr<Compressor> mild_;
  const std::unique_ptr<Compressor> strong_;
};

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_ADAPTIVE_H_
