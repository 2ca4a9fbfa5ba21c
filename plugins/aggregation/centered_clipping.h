// Clipping around where the aggregate was before.

#ifndef FEDLB_PLUGINS_AGGREGATION_CENTERED_CLIPPING_H_
#define FEDLB_PLUGINS_AGGREGATION_CENTERED_CLIPPING_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/aggregator.h"
#include "fedlb/param_schema.h"
#include "fedlb/tensor_list.h"

namespace fedlb::aggregation {

struct CenteredClippingOptions {
  double radius = 1;
  int64_t iterations = 1;
};

// S. P. Karimireddy, L. He, M. Jaggi, "Learning from History for Byzantine
// Robust Optimization", ICML 2021, Algorithm 2: from the aggregate v of the
// round before (0 before the first),
//   v <- v + 1/n sum_k (u_k - v) min(1, radius / |u_k - v|)
// so many times. No update moves the aggregate by more than radius / n at a
// time. The paper's clients send momenta; deltas of local training are as good.
class CenteredClipping final : public Aggregator {
 public:
  using Options = CenteredClippingOptions;
  static constexpr char kName[] = "centered_clipping";
  static constexpr char kSummary[] =
      "Mean of the updates' clipped distances from the aggregate before.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<CenteredClipping>> Create(
      const Options& options, const ComponentContext& context);

  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

 private:
  explicit CenteredClipping(const Options& options) : options_(options) {}

  absl::Status DoBegin(const TensorLayout& layout) override;
  absl::Status DoAdd(const Update& update) override;
  absl::StatusOr<TensorList> DoFinish() override;

  const Options options_;
  TensorList center_;  // in double; empty before the first round
  TensorLayout layout_;
  std::vector<TensorList> updates_;
};

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_CENTERED_CLIPPING_H_
