// The gradient mapper that asks a teacher.

#ifndef FEDLB_TEACHER_TEACHER_MAPPER_H_
#define FEDLB_TEACHER_TEACHER_MAPPER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/config_table.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/mapper_file.h"
#include "fedlb/param_schema.h"
#include "fedlb/teacher.h"
#include "pair_file.h"
#include "pair_scores.h"
#include "residual_noise.h"

namespace fedlb::teacher {

enum class Refit { kNever, kEvery, kCritical };

// What the teacher is to make of a large batch's gradient.
enum class Target {
  kDisplacement,  // where the small steps over the same examples lead
  kGradient,      // a small batch's gradient, the mean that is expected of it
  kNoise,         // a small batch's gradient as it is drawn
};

struct TeacherMapperOptions {
  int64_t small_batch_size = 64;
  std::string file;
  ConfigTable teacher;
  std::string pairs;
  std::string record;
  Target target = Target::kDisplacement;
  Refit refit = Refit::kNever;
  int64_t refit_every = 20;
  int64_t first_pairs = 10;
  bool reorder = false;
  double max_norm_ratio = 1000;
};

// Has a teacher map every gradient and learn from it. Where the teacher's
// answer is not finite, or its norm has left all proportion to the gradient's,
// the gradient stays as it is.
//
// With refit the mapper asks a client for pairs of a large batch's gradient and
// a displacement, scores the teacher on each before it learns from it, and has
// it fitted again. Pairs are recorded in a folder, or replayed from one, where
// `record` or `pairs` says so.
class TeacherMapper final : public GradientMapper {
 public:
  using Options = TeacherMapperOptions;
  static constexpr char kName[] = "teacher";
  static constexpr char kSummary[] =
      "Maps the gradient of a large batch to what many steps of a small batch "
      "would do, by a teacher that learns as training goes.";

  static ParamSchema<Options> Schema();
  // kInputFile: `file` cannot be read. kConfig: an unknown teacher, or a refit
  // of one that cannot be fitted.
  static absl::StatusOr<std::unique_ptr<TeacherMapper>> Create(
      const Options& options, const ComponentContext& context);

  // Also takes the teacher over from `file`. kInputFile: it is damaged or of
  // another model or target.
  absl::Status Prepare(const TensorLayout& layout) override;
  // Has the teacher learn from `pairs`. kInputFile: they are damaged, of
  // another model or target, or too few.
  absl::Status WarmStart() override;
  // The teacher's numbers; "fallback": 1 where the gradient was left as it is;
  // "seconds" that the teacher took for the step; "noise": with target =
  // "noise" the norm of what was added over the gradient's.
  ScalarMap Report() const override;
  // Also for a record, which another teacher may read.
  bool NeedsPartialMeans() const override {
    return teacher_->NeedsPartialMeans() || !options_.record.empty();
  }
  bool LearnsFromAggregate() const override {
    return teacher_->NeedsPartialMeans();
  }
  bool AsksForPairs() const override { return options_.refit != Refit::kNever; }
  bool ReadsCriticalPhase() const override {
    return options_.refit == Refit::kCritical;
  }
  // With the teacher's options as they came out, and without `file`, `pairs`
  // and `record`.
  ConfigTable FileOptions(const ConfigTable& given) const override;
  absl::Status ObserveAggregate(const StepContext& context,
                                const TensorList& aggregate) override;
  std::optional<DisplacementRequest> WantsDisplacement(
      const StepContext& context) const override;
  absl::Status ObserveDisplacement(const StepContext& context,
                                   const DisplacementPair& pair) override;
  // PairScores::Summary, "fit.<name>" of Teacher::FitReport, and "fit.seconds"
  // that pairs have taken in this process.
  ScalarMap Summary() const override;
  int64_t StateBytes(const TensorLayout& layout) const override;
  absl::Status CheckOptimizer(const OptimizerTraits& traits,
                              Logger& logger) const override;
  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

 private:
  TeacherMapper(const Options& options, ConfigTable teacher_options,
                std::unique_ptr<Teacher> teacher,
                std::optional<MapperFile> file, uint64_t seed, Logger* logger)
      : options_(options),
        teacher_options_(std::move(teacher_options)),
        teacher_(std::move(teacher)),
        file_(std::move(file)),
        seed_(seed),
        logger_(logger) {}

  absl::Status DoMap(const StepContext& context, TensorList& gradient) override;
  TeacherStep StepOf(const StepContext& context) const;
  bool TakesDisplacements() const {
    return options_.target == Target::kDisplacement;
  }
  bool UsesPairs() const {
    return options_.refit != Refit::kNever || !options_.pairs.empty();
  }
  // Scores the teacher on a pair and has it learn from it.
  absl::Status LearnPair(const StepContext& context,
                         const DisplacementPair& pair);
  // With target = "noise": adds the noise that the small batch's gradient has
  // and the large batch's has not.
  void AddNoise(const StepContext& context, TensorList& gradient);
  // With the round's gradient `raw`: makes up the pair that was waiting for it
  // and records it.
  absl::Status FinishPair(const StepContext& context, const TensorList& raw);
  absl::StatusOr<TensorList> Predict(TeacherStep step,
                                     const TensorList& gradient,
                                     TeacherScaling scaling);

  const Options options_;
  const ConfigTable teacher_options_;
  const std::unique_ptr<Teacher> teacher_;
  std::optional<MapperFile> file_;  // until Prepare
  const uint64_t seed_;
  Logger* const logger_;
  TensorLayout layout_;
  PairScores scores_;
  ResidualNoise noise_;
  std::optional<RecordedPair> open_pair_;  // until its round's Map
  bool fell_back_ = false;
  bool has_warned_ = false;
  double last_noise_ = 0;
  double step_seconds_ = 0;
  double fit_seconds_ = 0;  // of this process
};

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_TEACHER_MAPPER_H_
