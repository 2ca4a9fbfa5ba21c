// What sinks of updates are tested with, in the suites of plugins and in tests.

#ifndef FEDLB_SRC_CONFORMANCE_SINK_TESTING_H_
#define FEDLB_SRC_CONFORMANCE_SINK_TESTING_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/aggregator.h"
#include "fedlb/compressor.h"
#include "fedlb/weighted_mean.h"

namespace fedlb {

class NoCompression final : public Compressor {
 public:
  absl::Status Compress(Update&, ComponentState&) const override {
    return absl::OkStatus();
  }
  absl::Status Decompress(const TensorLayout&, Update&) const override {
    return absl::OkStatus();
  }
  int64_t BytesPerClient(const TensorLayout&) const override { return 0; }
};

// The mean by examples, which also remembers who was added when.
class RecordingMean final : public Aggregator {
 public:
  std::vector<int64_t> order;

 private:
  absl::Status DoBegin(const TensorLayout& layout) override {
    mean_.Begin(layout);
    return absl::OkStatus();
  }
  absl::Status DoAdd(const Update& update) override {
    order.push_back(update.client);
    mean_.Add(update.parameters(), static_cast<double>(update.num_examples));
    return absl::OkStatus();
  }
  absl::StatusOr<TensorList> DoFinish() override { return mean_.Mean(); }

  WeightedMean mean_;
};

}  // namespace fedlb

#endif  // FEDLB_SRC_CONFORMANCE_SINK_TESTING_H_
