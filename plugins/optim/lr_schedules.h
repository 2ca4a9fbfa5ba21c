// Learning rate schedules over the rounds of a run.

#ifndef FEDLB_PLUGINS_OPTIM_LR_SCHEDULES_H_
#define FEDLB_PLUGINS_OPTIM_LR_SCHEDULES_H_

#include <cstdint>
#include <memory>
#include <vector>

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

struct StepOptions {
  std::vector<double> milestones = {0.5, 0.75};
  double gamma = 0.1;
  int64_t warmup_rounds = 0;
  double start_factor = 0.1;
};

class Step final : public LrSchedule {
 public:
  using Options = StepOptions;
  static constexpr char kName[] = "step";
  static constexpr char kSummary[] =
      "Falls to gamma times what it was at every milestone.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Step>> Create(
      const Options& options, const ComponentContext& context);

  double Factor(int64_t round, int64_t num_rounds) const override;

 private:
  explicit Step(const Options& options) : options_(options) {}

  const Options options_;
};

struct ExponentialOptions {
  double gamma = 0.99;
  double min_factor = 0;
  int64_t warmup_rounds = 0;
  double start_factor = 0.1;
};

class Exponential final : public LrSchedule {
 public:
  using Options = ExponentialOptions;
  static constexpr char kName[] = "exponential";
  static constexpr char kSummary[] =
      "Falls to gamma times what it was in every round after the warm-up.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Exponential>> Create(
      const Options& options, const ComponentContext& context);

  double Factor(int64_t round, int64_t num_rounds) const override;

 private:
  explicit Exponential(const Options& options) : options_(options) {}

  const Options options_;
};

struct PolynomialOptions {
  double power = 1;
  double min_factor = 0;
  int64_t warmup_rounds = 0;
  double start_factor = 0.1;
};

class Polynomial final : public LrSchedule {
 public:
  using Options = PolynomialOptions;
  static constexpr char kName[] = "polynomial";
  static constexpr char kSummary[] =
      "A power of the share of rounds that is left after the warm-up, from the "
      "base rate down to min_factor times it, which a round after the last "
      "would have.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Polynomial>> Create(
      const Options& options, const ComponentContext& context);

  double Factor(int64_t round, int64_t num_rounds) const override;

 private:
  explicit Polynomial(const Options& options) : options_(options) {}

  const Options options_;
};

}  // namespace fedlb::optim

#endif  // FEDLB_PLUGINS_OPTIM_LR_SCHEDULES_H_
