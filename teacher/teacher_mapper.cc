#include "teacher_mapper.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"

namespace fedlb::teacher {
namespace {

constexpr char kNameKey[] = "name";
constexpr char kTeacherKey[] = "teacher";
constexpr char kFileKey[] = "file";
constexpr char kPairsKey[] = "pairs";
constexpr char kTargetKey[] = "target";
constexpr char kRecordKey[] = "record";
constexpr char kDefaultTeacher[] = "subspace_autoencoder";
constexpr char kScores[] = "pair_scores";
constexpr char kResiduals[] = "residuals";

double SecondsSince(absl::Time start) {
  return absl::ToDoubleSeconds(absl::Now() - start);
}

std::string TargetName(Target target) {
  switch (target) {
    case Target::kDisplacement:
      return "displacement";
    case Target::kGradient:
      return "gradient";
    case Target::kNoise:
      return "noise";
  }
  return "";
}

// The default teacher, or the one of the file, with what `options` say of it;
// those alone where they name another.
ConfigTable TeacherTable(const TeacherMapperOptions& options,
                         const std::optional<MapperFile>& file) {
  ConfigTable table;
  table.Set(kNameKey, ConfigValue(std::string(kDefaultTeacher)));
  if (file.has_value()) {
    const ConfigValue* kept = file->options.Find(kTeacherKey);
    if (kept != nullptr && kept->As<ConfigTable>() != nullptr) {
      for (const auto& [key, value] : kept->As<ConfigTable>()->values()) {
        table.Set(key, value);
      }
    }
  }
  const ConfigValue* name = options.teacher.Find(kNameKey);
  if (name != nullptr && !(*name == *table.Find(kNameKey))) {
    return options.teacher;
  }
  for (const auto& [key, value] : options.teacher.values()) {
    table.Set(key, value);
  }
  return table;
}

}  // namespace

ParamSchema<TeacherMapperOptions> TeacherMapper::Schema() {
  return ParamSchema<Options>()
      .Add(
          "small_batch_size", &Options::small_batch_size,
          "Examples in a step of the small batch. One step of a batch B stands "
          "for B / small_batch_size of its steps, at the same learning rate.",
          AtLeast(1))
      .AddLocal("file", &Options::file,
           "A teacher that fedlb teacher-fit wrote, to begin with; empty to "
           "begin with none.")
      .Add("teacher", &Options::teacher,
           "The teacher's name, \"subspace_autoencoder\" by default, and "
           "options. With a file they are the file's where they are not given.")
      .AddLocal(
          "pairs", &Options::pairs,
          "A folder of pairs, recorded by `record`, that the teacher is fitted "
          "to before training; empty for none.")
      .AddLocal(
          "record", &Options::record,
          "A folder that is to keep every pair as a file; empty for none. Each "
          "round's gradients then come in groups.")
      .AddChoice(
          "target", &Options::target,
          {{TargetName(Target::kDisplacement), Target::kDisplacement},
           {TargetName(Target::kGradient), Target::kGradient},
           {TargetName(Target::kNoise), Target::kNoise}},
          "What the teacher is fitted to: \"displacement\" by many small steps "
          "over the large batch's examples; \"gradient\" of a small batch, "
          "whose best prediction is the large batch's gradient itself; or "
          "\"noise\", the same with noise of the covariance that the last "
          "eight "
          "pairs show added to the prediction.")
      .AddChoice("refit", &Options::refit,
                 {{"never", Refit::kNever},
                  {"every", Refit::kEvery},
                  {"critical", Refit::kCritical}},
                 "When a client is asked for a pair of a gradient and a "
                 "displacement to fit the teacher to: never, every refit_every "
                 "rounds, or in those rounds only while training is critical.")
      .Add("refit_every", &Options::refit_every,
           "Rounds from one such pair to the next.", AtLeast(1))
      .Add("first_pairs", &Options::first_pairs,
           "Pairs at the beginning, one every other round, unless refit = "
           "\"never\".",
           AtLeast(0))
      .Add(
          "reorder", &Options::reorder,
          "Whether pairs come with a second displacement, of the same examples "
          "in another order, which shows what no teacher can predict.")
      .Add("max_norm_ratio", &Options::max_norm_ratio,
           "Where the teacher makes the gradient longer than this many times "
           "its norm, or shorter than one part in as many, the gradient stays "
           "as it is.",
           GreaterThan(1));
}

absl::StatusOr<std::unique_ptr<TeacherMapper>> TeacherMapper::Create(
    const Options& options, const ComponentContext& context) {
  if (context.registry == nullptr) {
    return absl::FailedPreconditionError(
        "the mapper teacher needs a registry to take its teacher from");
  }
  std::optional<MapperFile> file;
  if (!options.file.empty()) {
    FEDLB_ASSIGN_OR_RETURN(file, ReadMapperFile(options.file));
    const ConfigValue* name = file->options.Find(kNameKey);
    if (name == nullptr || !(*name == ConfigValue(std::string(kName)))) {
      return InputFileError(
          absl::StrCat(options.file, ": not a file of the mapper teacher"));
    }
    const ConfigValue* target = file->options.Find(kTargetKey);
    if (target != nullptr &&
        !(*target == ConfigValue(TargetName(options.target)))) {
      return InputFileError(
          absl::StrCat(options.file, ": fitted with gradient_mapper.target = ",
                       target->ToString(), "; set the same"));
    }
  }
  ConfigTable table = TeacherTable(options, file);
  FEDLB_ASSIGN_OR_RETURN(std::unique_ptr<Teacher> teacher,
                         context.registry->Create<Teacher>(table, context));
  if ((options.refit != Refit::kNever || !options.pairs.empty()) &&
      !teacher->CanFit()) {
    return ConfigError(
        "gradient_mapper.refit and pairs have nothing to fit: this teacher "
        "takes "
        "no pairs with its options (subspace_autoencoder: coordinates = "
        "\"raw\" "
        "and a rank of 1 or more)");
  }
  if (!options.record.empty() && options.refit == Refit::kNever) {
    return ConfigError(
        "gradient_mapper.record has no pairs to keep; set "
        "gradient_mapper.refit = \"every\"");
  }
  if (teacher->NeedsFit() && options.refit == Refit::kNever && !file &&
      options.pairs.empty()) {
    return ConfigError(
        "this teacher does nothing until it is fitted; set "
        "gradient_mapper.refit = \"every\", or gradient_mapper.file to one "
        "that "
        "fedlb teacher-fit wrote");
  }
  return std::unique_ptr<TeacherMapper>(
      new TeacherMapper(options, std::move(table), std::move(teacher),
                        std::move(file), context.seed, context.logger));
}

absl::Status TeacherMapper::Prepare(const TensorLayout& layout) {
  layout_ = layout;
  FEDLB_RETURN_IF_ERROR(Annotate(teacher_->Prepare(layout), "teacher"));
  if (file_.has_value()) {
    FEDLB_RETURN_IF_ERROR(CheckMapperFileFits(options_.file, *file_, layout));
    const absl::Status loaded = LoadState(file_->state);
    if (!loaded.ok()) {
      return InputFileError(
          absl::StrCat(options_.file, ": ", loaded.message()));
    }
    scores_ = PairScores();  // of another run
    file_.reset();
  }
  return absl::OkStatus();
}

absl::Status TeacherMapper::WarmStart() {
  if (options_.pairs.empty()) {
    return absl::OkStatus();
  }
  FEDLB_ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                         FindPairFiles(options_.pairs));
  for (const std::string& path : paths) {
    FEDLB_ASSIGN_OR_RETURN(RecordedPair recorded, ReadPairFile(path, layout_));
    if (recorded.target != TargetName(options_.target)) {
      return InputFileError(absl::StrCat(
          path, ": recorded with gradient_mapper.target = \"", recorded.target,
          "\", which is \"", TargetName(options_.target), "\" here"));
    }
    FEDLB_RETURN_IF_ERROR(LearnPair(recorded.context, recorded.pair));
    if (!teacher_->NeedsPartialMeans()) {
      continue;
    }
    if (recorded.partial_means.empty()) {
      return InputFileError(absl::StrCat(
          path,
          ": without the round's gradients, which this teacher learns "
          "from"));
    }
    recorded.context.batch_size = recorded.cohort_batch_size;
    TeacherStep step = StepOf(recorded.context);
    step.context.partial_means = std::move(recorded.partial_means);
    TensorList gradient = MeanOf(step.context.partial_means);
    FEDLB_RETURN_IF_ERROR(teacher_->Map(step, gradient));
    FEDLB_RETURN_IF_ERROR(teacher_->Observe(step));
  }
  if (!teacher_->fitted()) {
    return InputFileError(absl::StrCat(options_.pairs,
                                       ": too few pairs to fit a teacher (",
                                       paths.size(), ")"));
  }
  return absl::OkStatus();
}

ConfigTable TeacherMapper::FileOptions(const ConfigTable& given) const {
  ConfigTable options = given;
  options.Set(kTeacherKey, ConfigValue(teacher_options_));
  for (const char* key : {kFileKey, kPairsKey, kRecordKey}) {
    options.Erase(key);
  }
  return options;
}

ScalarMap TeacherMapper::Report() const {
  ScalarMap report = teacher_->Report();
  if (fell_back_) {
    for (auto& [name, value] : report) {
      value = 0;
    }
    for (const char* name : {"gain", "norm_ratio", "cosine", "clip_factor"}) {
      report[name] = 1;
    }
  }
  report["fallback"] = fell_back_ ? 1 : 0;
  report["seconds"] = step_seconds_;
  if (options_.target == Target::kNoise) {
    report["noise"] = last_noise_;
  }
  return report;
}

absl::Status TeacherMapper::CheckOptimizer(const OptimizerTraits& traits,
                                           Logger& /*logger*/) const {
  if (traits.scale_invariant) {
    return ConfigError(
        "the teacher's answer is a displacement over the learning rate, which "
        "an optimizer that ignores the gradient's scale undoes; use optimizer "
        "sgd, with gradient_mapper.teacher.coordinates = \"adam\" for Adam's "
        "scaling");
  }
  if (traits.clips) {
    return ConfigError(
        "optimizer.clip_norm clips the teacher's answer; set "
        "gradient_mapper.teacher.clip_norm instead");
  }
  return absl::OkStatus();
}

TeacherStep TeacherMapper::StepOf(const StepContext& context) const {
  if (!TakesDisplacements()) {
    return {context, 1};
  }
  return {context,
          std::max(1.0, static_cast<double>(context.batch_size) /
                            static_cast<double>(options_.small_batch_size))};
}

// A residual g_b - T(g_B) of independent batches has the covariance
// Sigma (1 / b + 1 / B); g_b has Sigma (1 / b - 1 / B) more than g_B.
void TeacherMapper::AddNoise(const StepContext& context, TensorList& gradient) {
  const auto large = static_cast<double>(context.batch_size);
  const auto small = static_cast<double>(options_.small_batch_size);
  last_noise_ = 0;
  const double norm = std::sqrt(SquaredNorm(gradient));
  if (large > small && norm > 0) {
    const RandomKey key = {.seed = seed_,
                           .purpose = "teacher_noise",
                           .round = context.round,
                           .client = context.client,
                           .step = context.step};
    last_noise_ =
        noise_.AddDraw(key, std::sqrt((large - small) / (large + small)),
                       gradient) /
        norm;
  }
}

absl::Status TeacherMapper::DoMap(const StepContext& context,
                                  TensorList& gradient) {
  FEDLB_RETURN_IF_ERROR(FinishPair(context, gradient));
  const absl::Time start = absl::Now();
  const TeacherStep step = StepOf(context);
  const TensorList raw = Clone(gradient);
  FEDLB_RETURN_IF_ERROR(teacher_->Map(step, gradient));
  const double ratio = teacher_->Report().at("norm_ratio");
  fell_back_ = !std::isfinite(SquaredNorm(gradient)) ||
               !(ratio <= options_.max_norm_ratio &&
                 ratio >= 1 / options_.max_norm_ratio);
  if (fell_back_) {
    Copy(raw, gradient);
    if (!std::exchange(has_warned_, true)) {
      logger_->Warning(absl::StrFormat(
          "[gradient_mapper] the teacher's answer in round %d is %g times as "
          "long as the gradient; the gradient is used as it is (further cases "
          "are counted in mapper.fallback)",
          context.round, ratio));
    }
  }
  if (options_.target == Target::kNoise) {
    AddNoise(context, gradient);
  }
  if (context.may_learn) {
    FEDLB_RETURN_IF_ERROR(teacher_->Observe(step));
  }
  step_seconds_ = SecondsSince(start);
  return absl::OkStatus();
}

absl::Status TeacherMapper::ObserveAggregate(const StepContext& context,
                                             const TensorList& /*aggregate*/) {
  if (!teacher_->NeedsPartialMeans()) {
    return absl::OkStatus();
  }
  if (context.partial_means.empty()) {
    return absl::InvalidArgumentError("no gradients to learn from");
  }
  // A teacher's step is Map, then Observe. The aggregate went through the
  // clients' mappers; what they were given is in the partial means.
  TensorList gradient = MeanOf(context.partial_means);
  return DoMap(context, gradient);
}

std::optional<DisplacementRequest> TeacherMapper::WantsDisplacement(
    const StepContext& context) const {
  const int64_t round = context.round;
  const bool at_first = round < 2 * options_.first_pairs && round % 2 == 1;
  const bool in_turn = round >= 2 * options_.first_pairs &&
                       round % options_.refit_every == options_.refit_every / 2;
  const bool in_phase = options_.refit != Refit::kCritical || context.critical;
  if (options_.refit == Refit::kNever || context.lr <= 0 ||
      !(at_first || (in_turn && in_phase))) {
    return std::nullopt;
  }
  if (!TakesDisplacements()) {
    return DisplacementRequest{.small_batch_size = options_.small_batch_size,
                               .small_steps = 1};
  }
  // A last batch that is short has no whole number of small steps.
  if (context.batch_size % options_.small_batch_size != 0 ||
      context.batch_size < options_.small_batch_size) {
    return std::nullopt;
  }
  return DisplacementRequest{
      .small_batch_size = options_.small_batch_size,
      .small_steps = context.batch_size / options_.small_batch_size,
      .reorder = options_.reorder};
}

absl::StatusOr<TensorList> TeacherMapper::Predict(TeacherStep step,
                                                  const TensorList& gradient,
                                                  TeacherScaling scaling) {
  step.scaling = scaling;
  step.context.may_learn = false;
  if (NeedsPartialMeans()) {
    step.context.partial_means = {gradient};
  }
  TensorList image = Clone(gradient);
  FEDLB_RETURN_IF_ERROR(teacher_->Map(step, image));
  return image;
}

absl::Status TeacherMapper::LearnPair(const StepContext& context,
                                      const DisplacementPair& pair) {
  const absl::Time start = absl::Now();
  TeacherStep step = StepOf(context);
  step.small_steps = static_cast<double>(pair.small_steps);
  PairImages images;
  FEDLB_ASSIGN_OR_RETURN(
      images.norm_match,
      Predict(step, pair.gradient, TeacherScaling::kNormMatch));
  FEDLB_ASSIGN_OR_RETURN(images.mse,
                         Predict(step, pair.gradient, TeacherScaling::kMse));
  const bool was_fitted = teacher_->fitted();
  FEDLB_RETURN_IF_ERROR(teacher_->AddPair(step, pair));
  if (options_.target == Target::kNoise) {
    TensorList residual = Clone(pair.displacement);
    AddScaled(images.mse, -1, residual);
    noise_.Add(std::move(residual));
  }
  scores_.Add(pair, images, step.small_steps, was_fitted);
  FEDLB_RETURN_IF_ERROR(teacher_->Fit());
  fit_seconds_ += SecondsSince(start);
  return absl::OkStatus();
}

absl::Status TeacherMapper::ObserveDisplacement(const StepContext& context,
                                                const DisplacementPair& pair) {
  if (!TakesDisplacements() || !options_.record.empty()) {
    open_pair_ = {.context = context, .pair = pair};
  }
  return TakesDisplacements() ? LearnPair(context, pair) : absl::OkStatus();
}

absl::Status TeacherMapper::FinishPair(const StepContext& context,
                                       const TensorList& raw) {
  if (!open_pair_.has_value()) {
    return absl::OkStatus();
  }
  RecordedPair recorded = *std::exchange(open_pair_, std::nullopt);
  if (!TakesDisplacements()) {
    recorded.context = context;
    recorded.context.partial_means.clear();
    recorded.pair.gradient = raw;
    FEDLB_RETURN_IF_ERROR(LearnPair(recorded.context, recorded.pair));
  }
  if (options_.record.empty()) {
    return absl::OkStatus();
  }
  recorded.target = TargetName(options_.target);
  recorded.partial_means = context.partial_means;
  recorded.cohort_batch_size = context.batch_size;
  std::error_code error;
  std::filesystem::create_directories(options_.record, error);
  if (error) {
    return StorageError(
        absl::StrCat("gradient_mapper.record: cannot create the folder ",
                     options_.record, ": ", error.message()));
  }
  return WritePairFile(
      absl::StrCat(options_.record, "/", PairFileName(context.round)), layout_,
      recorded);
}

ScalarMap TeacherMapper::Summary() const {
  ScalarMap summary = scores_.Summary();
  for (const auto& [name, value] : teacher_->FitReport()) {
    summary[absl::StrCat("fit.", name)] = value;
  }
  if (UsesPairs()) {
    summary["fit.seconds"] = fit_seconds_;
  }
  return summary;
}

int64_t TeacherMapper::StateBytes(const TensorLayout& layout) const {
  return teacher_->StateBytes(layout) + (options_.target == Target::kNoise
                                             ? ResidualNoise::StateBytes(layout)
                                             : 0);
}

ComponentState TeacherMapper::SaveState() const {
  ComponentState state = teacher_->SaveState();
  if (UsesPairs()) {
    state.tensors[kScores] = scores_.Save();
  }
  if (options_.target == Target::kNoise) {
    state.tensors[kResiduals] = noise_.Save();
  }
  return state;
}

absl::Status TeacherMapper::LoadState(const ComponentState& state) {
  ComponentState of_teacher = state;
  PairScores loaded;
  if (const auto scores = of_teacher.tensors.extract(kScores)) {
    FEDLB_RETURN_IF_ERROR(loaded.Load(scores.mapped()));
  }
  ResidualNoise noise;
  if (const auto residuals = of_teacher.tensors.extract(kResiduals)) {
    FEDLB_RETURN_IF_ERROR(noise.Load(layout_, residuals.mapped()));
  }
  FEDLB_RETURN_IF_ERROR(teacher_->LoadState(of_teacher));
  scores_ = std::move(loaded);
  noise_ = std::move(noise);
  return absl::OkStatus();
}

}  // namespace fedlb::teacher
