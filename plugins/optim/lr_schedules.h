// Learning rate schedules over the rounds of a run.

#ifndef FEDLB_PLUGINS_OPTIM_LR_SCHEDULES_H_
#define FEDLB_PLUGINS_OPTIM_LR_SCHEDULES_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "fedlb/lr_schedule.h"
#include "fedlb/param_schema.h"

namespace fedlb::optim {

struct ConstantOptions {};

class Constant final : public LrSchedule {
 public:
  using Options = ConstantOptions;
  static constexpr char kName[] = "constant";
  static constexpr char kSummary[] = "The same learning rate in every round.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Constant>> Create(
      const Options& options, const ComponentContext& context);

  double Factor(int64_t round, int64_t num_rounds) const override;
};

struct CosineOptions {
  double min_factor = 0;
};

class Cosine final : public LrSchedule {
 public:
  using Options = CosineOptions;
  static constexpr char kName[] = "cosine";
  static constexpr char kSummary[] =
      "Half a cosine from the base rate down to min_factor times it, which a "
      "round after the last would have.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Cosine>> Create(
      const Options& options, const ComponentContext& context);

  double Factor(int64_t round, int64_t num_rounds) const override;

 private:
  explicit Cosine(const Options& options) : options_(options) {}

  const Options options_;
};

struct LinearWarmupOptions {
  int64_t warmup_rounds = 5;
  double start_factor = 0.1;
};

class LinearWarmup final : public LrSchedule {
 public:
  using Options = LinearWarmupOptions;
  static constexpr char kName[] = "linear_warmup";
  static constexpr char kSummary[] =
      "Rises in equal steps from start_factor times the base rate, which "
      "round warmup_rounds reaches and later rounds keep.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<LinearWarmup>> Create(
      const Options& options, const ComponentContext& context);

  double Factor(int64_t round, int64_t num_rounds) const override;

 private:
  explicit LinearWarmup(const Options& options) : options_(options) {}

  const Options options_;
};

struct WarmupCosineOptions {
  int64_t warmup_rounds = 5;
  double start_factor = 0.1;
  double min_factor = 0;
};

class WarmupCosine final : public LrSchedule {
 public:
  using Options = WarmupCosineOptions;
  static constexpr char kName[] = "warmup_cosine";
  static constexpr char kSummary[] =
      "Warm-up as in linear_warmup, then cosine over the remaining rounds.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<WarmupCosine>> Create(
      const Options& options, const ComponentContext& context);

  double Factor(int64_t round, int64_t num_rounds) const override;

 private:
  explicit WarmupCosine(const Options& options) : options_(options) {}

  const Options options_;
};

}  // namespace fedlb::optim

#endif  // FEDLB_PLUGINS_OPTIM_LR_SCHEDULES_H_
