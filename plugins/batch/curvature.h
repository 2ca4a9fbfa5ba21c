// The batch policy `curvature`: batches double as the loss becomes flatter.

#ifndef FEDLB_BATCH_CURVATURE_H_
#define FEDLB_BATCH_CURVATURE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/batch_policy.h"
#include "fedlb/param_schema.h"

namespace fedlb::batch {

struct CurvatureOptions {
  int64_t batch_size = 64;
  int64_t max_batch_size = 1024;
  int64_t every = 10;
  int64_t patience = 10;
};

// The adaptive batch size of ABSA (Yao et al. 2018) without its adversarial
// examples. Every `every` rounds the largest eigenvalue of the Hessian is
// looked at. When it is at most half of the reference, it becomes the
// reference, and the batch doubles; the first one looked at is the reference to
// begin with. After `patience` looks without a change the batch doubles all the
// same. With lr_schedule.scaling = "linear" the learning rate doubles with it,
// as in the paper.
class Curvature final : public BatchPolicy {
 public:
  using Options = CurvatureOptions;
  static constexpr char kName[] = "curvature";
  static constexpr char kSummary[] =
      "Batches that double as the curvature of the loss halves (ABSA).";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Curvature>> Create(
      const Options& options, const ComponentContext& context);

  bool WantsCurvature(int64_t round) const override {
    return round % options_.every == 0 && batch_size_ < options_.max_batch_size;
  }
  absl::Status ObserveRound(int64_t round, const ScalarMap& metrics) override;
  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

 private:
  explicit Curvature(const Options& options)
      : options_(options), batch_size_(options.batch_size) {}

  absl::StatusOr<int64_t> DoBatchSize(int64_t round, int64_t client) override;

  const Options options_;
  int64_t batch_size_;
  double reference_ = 0;  // 0 before the first look
  int64_t looks_ = 0;     // since the last change
};

}  // namespace fedlb::batch

#endif  // FEDLB_BATCH_CURVATURE_H_
