#include "profile/profiler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "fedlb/memory.h"
#include "fedlb/status.h"
#include "profile/communication.h"
#include "profile/machine.h"
#include "profile/step_probe.h"
#include "stopwatch.h"

namespace fedlb {
namespace {

// Memory alone is measured at 1, 2, 8, 32, ...: it is a straight line over wide
// ranges of the batch size. Time is not, and is measured at every doubling.
constexpr int64_t kMemoryGrowth = 4;
constexpr int64_t kTimeGrowth = 2;

// A step that would take longer is not run only to know its memory.
constexpr double kLongStepSeconds = 10;
// Steps of a batch size are timed until they fill so many seconds, at least
// kMinTimed and at most kMaxTimed. The first ones still take memory from the
// system; of few steps the fastest counts, of many the median.
constexpr double kTimedSeconds = 0.1;
constexpr int64_t kMinTimed = 4;
constexpr int64_t kMaxTimed = 100;
constexpr size_t kFew = 8;

// What is left of the machine's memory for everything else.
constexpr double kProcessMargin = 0.1;
// A first guess at a larger batch size may be so far off.
constexpr double kGuessMargin = 0.1;
// Searching ends when the answer would grow by less than this share.
constexpr double kCloseEnough = 0.01;
constexpr int kMaxRefinements = 8;

double TypicalOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  if (values.size() < kFew) {
    return values[0];
  }
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle]
                                : (values[middle - 1] + values[middle]) / 2;
}

class Profiler {
 public:
  Profiler(Federation& federation, const ProfileOptions& options)
      : federation_(federation), options_(options) {}

  absl::StatusOr<DeviceProfile> Run();

 private:
  void Describe();
  absl::Status CheckEvaluation() const;
  // Runs batch sizes of growing size until one does not fit, would take long or
  // would be the last.
  absl::Status Climb();
  // Goes to and fro around the largest batch size that fits.
  absl::Status Refine();
  absl::Status Measure(int64_t batch_size, bool timed);
  absl::Status Time(ProfilePoint& point);
  // Whether a step larger than any so far would take too long to be run only to
  // know its memory, and whether it fits by a careful guess.
  bool TakesLong(int64_t batch_size) const;
  bool SurelyFits(int64_t batch_size) const;
  // From the largest that was run up to `wanted`.
  int64_t LargestThatSurelyFits(int64_t wanted) const;
  // Whether so many bytes of tensors and of the process are allowed.
  bool WithinBudgets(double memory_bytes, double process_bytes) const;
  // The largest batch size up to limit_ that the models let fit.
  absl::StatusOr<int64_t> LargestWithinBudgets() const;
  absl::Status Infeasible() const;
  void Tell(const std::string& what) {
    if (options_.on_progress) {
      ++told_;
      options_.on_progress(told_, std::max(told_, planned_), what);
    }
  }

  Federation& federation_;
  const ProfileOptions& options_;
  std::unique_ptr<StepProbe> probe_;
  DeviceProfile profile_;
  int64_t limit_ = 0;
  // The least batch size whose step met the memory limit, 0 for none.
  int64_t failed_ = 0;
  double process_limit_ = 0;
  // Of the step at the largest point, for guessing others.
  double step_seconds_ = 0;
  // Measurements, for the progress.
  int64_t told_ = 0;
  int64_t planned_ = 0;
};

void Profiler::Describe() {
  const Federation& f = federation_;
  profile_ = DescribeDevice(f);
  profile_.memory_budget = f.config.execution.memory_limit.value;
  profile_.process_budget = ProcessMemoryBudget();
  process_limit_ =
      (1 - kProcessMargin) * static_cast<double>(profile_.process_budget);
  limit_ = profile_.train_examples;
  if (options_.max_batch > 0) {
    limit_ = std::min(limit_, options_.max_batch);
  }
  // The first step, then memory and, where wanted, time of each size, and a few
  // beyond.
  const auto doublings = static_cast<int64_t>(std::log2(
      static_cast<double>(std::min(limit_, options_.max_timed_batch))));
  planned_ = options_.time ? 2 * doublings + 6 : doublings / 2 + 6;
}

absl::Status Profiler::Infeasible() const {
  const auto mib = [](int64_t bytes) {
    return static_cast<double>(bytes) / (1 << 20);
  };
  const bool of_tensors =
      profile_.memory_budget > 0 &&
      (profile_.points.empty() ||
       profile_.points[0].memory_bytes > profile_.memory_budget);
  return OutOfMemoryError(absl::StrFormat(
      "not even batch 1 fits the budget of %.4g MiB%s; use a smaller model, an "
      "optimizer with less state, fewer workers, or a larger budget",
      mib(of_tensors ? profile_.memory_budget
                     : static_cast<int64_t>(process_limit_)),
      profile_.points.empty()
          ? std::string()
          : absl::StrFormat(
                ": it needs %.4g MiB",
                mib(of_tensors ? profile_.points[0].memory_bytes
                               : profile_.points[0].process_bytes))));
}

absl::Status Profiler::CheckEvaluation() const {
  if (profile_.memory_budget == 0 ||
      profile_.evaluation_bytes <= profile_.memory_budget) {
    return absl::OkStatus();
  }
  return OutOfMemoryError(
      absl::StrFormat("an evaluation of %d examples at a time needs %d bytes, "
                      "and the budget is "
                      "%d; lower evaluation.batch_size",
                      federation_.config.evaluation.batch_size,
                      profile_.evaluation_bytes, profile_.memory_budget));
}

absl::StatusOr<DeviceProfile> Profiler::Run() {
  Stopwatch watch;
  Describe();
  Tell("a first step");
  absl::StatusOr<std::unique_ptr<StepProbe>> probe =
      StepProbe::Open(federation_, options_.stop);
  if (FailureOf(probe.status()) == Failure::kOutOfMemory) {
    return Annotate(probe.status(), "the budget is too small");
  }
  FEDLB_ASSIGN_OR_RETURN(probe_, std::move(probe));
  profile_.resident_bytes = probe_->resident_bytes();
  profile_.evaluation_bytes = probe_->evaluation_bytes();
  FEDLB_RETURN_IF_ERROR(CheckEvaluation());

  absl::StatusOr<LinkModel> link = MeasureLink(*federation_.transport);
  if (link.ok()) {
    profile_.link = *link;
  } else if (!absl::IsUnimplemented(link.status())) {
    return Annotate(link.status(), "[transport]");
  }
  FEDLB_RETURN_IF_ERROR(Climb());
  if (profile_.points.empty()) {
    return Infeasible();
  }
  FEDLB_RETURN_IF_ERROR(Refine());
  FEDLB_ASSIGN_OR_RETURN(const int64_t within, LargestWithinBudgets());
  profile_.largest_safe_batch =
      failed_ > 0 ? std::min(within, profile_.points.back().batch_size)
                  : LargestThatSurelyFits(within);
  if (profile_.largest_safe_batch == 0) {
    return Infeasible();
  }
  profile_.largest_safe_is_limit = profile_.largest_safe_batch == limit_;
  for (const ProfilePoint& point : profile_.points) {
    profile_.largest_safe_was_run |=
        point.batch_size >= profile_.largest_safe_batch;
  }
  profile_.probe_steps = probe_->steps_run();
  profile_.probe_seconds = watch.Lap();
  return std::move(profile_);
}

absl::Status Profiler::Climb() {
  const int64_t last_timed =
      options_.time ? std::min(limit_, options_.max_timed_batch) : 0;
  int64_t next = 1;
  while (!TakesLong(next) && SurelyFits(next)) {
    const absl::Status measured = Measure(next, next <= last_timed);
    if (FailureOf(measured) == Failure::kOutOfMemory) {
      failed_ = next;
      return absl::OkStatus();
    }
    // Batch normalisation may need two.
    if (!measured.ok() && !(next == 1 && limit_ > 1)) {
      return measured;
    }
    if (next == limit_) {
      return absl::OkStatus();
    }
    const int64_t before = next;
    if (next < last_timed) {
      next = std::min(kTimeGrowth * next, last_timed);
    } else {
      next = std::min((next == 1 ? 2 : kMemoryGrowth) * next, limit_);
    }
    // Where activations stop growing.
    const int64_t micro = federation_.config.batch_use.micro_batch_size;
    if (before < micro && micro < next) {
      next = micro;
    }
  }
  return absl::OkStatus();
}

absl::Status Profiler::Measure(int64_t batch_size, bool timed) {
  Tell(absl::StrCat("memory of batch ", batch_size));
  Stopwatch watch;
  FEDLB_ASSIGN_OR_RETURN(ProfilePoint point, probe_->MeasureMemory(batch_size));
  step_seconds_ = watch.Lap();
  if (timed) {
    FEDLB_RETURN_IF_ERROR(Time(point));
  }
  FEDLB_ASSIGN_OR_RETURN(point.process_bytes, probe_->MeasureProcess());
  const auto place = std::lower_bound(
      profile_.points.begin(), profile_.points.end(), batch_size,
      [](const ProfilePoint& p, int64_t b) { return p.batch_size < b; });
  profile_.points.insert(place, std::move(point));
  return absl::OkStatus();
}

absl::Status Profiler::Time(ProfilePoint& point) {
  Tell(absl::StrCat("time of batch ", point.batch_size));
  std::vector<ProfilePoint> steps;
  double seconds = 0;
  const auto enough = [&] {
    const auto count = static_cast<int64_t>(steps.size());
    return count >= kMaxTimed ||
           (count >= kMinTimed && seconds >= kTimedSeconds);
  };
  while (!enough()) {
    FEDLB_ASSIGN_OR_RETURN(const ProfilePoint step,
                           probe_->TimeStep(point.batch_size));
    seconds += step.step_seconds;
    steps.push_back(step);
  }
  const auto typical = [&steps](double ProfilePoint::*field) {
    std::vector<double> values;
    for (const ProfilePoint& step : steps) {
      values.push_back(step.*field);
    }
    return TypicalOf(std::move(values));
  };
  point.num_timed = static_cast<int64_t>(steps.size());
  point.step_seconds = typical(&ProfilePoint::step_seconds);
  point.data_seconds = typical(&ProfilePoint::data_seconds);
  point.forward_seconds = typical(&ProfilePoint::forward_seconds);
  point.backward_seconds = typical(&ProfilePoint::backward_seconds);
  point.optimizer_seconds = typical(&ProfilePoint::optimizer_seconds);
  return absl::OkStatus();
}

bool Profiler::TakesLong(int64_t batch_size) const {
  return !profile_.points.empty() && batch_size > options_.max_timed_batch &&
         step_seconds_ * static_cast<double>(batch_size) >
             kLongStepSeconds *
                 static_cast<double>(profile_.points.back().batch_size);
}

bool Profiler::SurelyFits(int64_t batch_size) const {
  if (profile_.points.empty() ||
      batch_size <= profile_.points.back().batch_size) {
    return true;
  }
  const ProfilePoint& last = profile_.points.back();
  // Without a second point: what comes and goes with a step grows no faster
  // than the batch.
  double per_example =
      static_cast<double>(last.memory_bytes - profile_.resident_bytes) /
      static_cast<double>(last.batch_size);
  if (profile_.points.size() > 1) {
    // Activations grow with the batch even where the peak does not yet, because
    // it lies elsewhere.
    const ProfilePoint& before = profile_.points[profile_.points.size() - 2];
    const auto growth = [&last, &before](auto bytes_of) {
      return static_cast<double>(bytes_of(last) - bytes_of(before)) /
             static_cast<double>(last.batch_size - before.batch_size);
    };
    per_example = std::max(
        growth([](const ProfilePoint& p) { return p.memory_bytes; }),
        static_cast<double>(profile_.workers) *
            growth([](const ProfilePoint& p) {
              return p.tag_bytes[static_cast<size_t>(MemoryTag::kActivations)] +
                     p.tag_bytes[static_cast<size_t>(MemoryTag::kBatch)];
            }));
  }
  const double added = (1 + kGuessMargin) * std::max(0.0, per_example) *
                       static_cast<double>(batch_size - last.batch_size);
  return WithinBudgets(static_cast<double>(last.memory_bytes) + added,
                       static_cast<double>(last.process_bytes) + added);
}

bool Profiler::WithinBudgets(double memory_bytes, double process_bytes) const {
  return (profile_.memory_budget == 0 ||
          memory_bytes <= static_cast<double>(profile_.memory_budget)) &&
         (process_limit_ <= 0 || process_bytes <= process_limit_);
}

int64_t Profiler::LargestThatSurelyFits(int64_t wanted) const {
  if (SurelyFits(wanted)) {
    return wanted;
  }
  int64_t good = profile_.points.back().batch_size;
  int64_t bad = wanted;
  while (bad - good > 1) {
    const int64_t middle = good + (bad - good) / 2;
    (SurelyFits(middle) ? good : bad) = middle;
  }
  return good;
}

absl::StatusOr<int64_t> Profiler::LargestWithinBudgets() const {
  FEDLB_ASSIGN_OR_RETURN(const ProfileModels models,
                         ProfileModels::Fit(profile_));
  const int64_t limit = failed_ > 0 ? std::min(limit_, failed_ - 1) : limit_;
  // A step that was run within the budget needs no margin.
  int64_t was_run = 0;
  for (const ProfilePoint& point : profile_.points) {
    if (WithinBudgets(static_cast<double>(point.memory_bytes),
                      static_cast<double>(point.process_bytes))) {
      was_run = point.batch_size;
    }
  }
  const double unbounded = std::numeric_limits<double>::infinity();
  int64_t largest = models.memory.LargestWithin(
      profile_.memory_budget > 0 ? static_cast<double>(profile_.memory_budget)
                                 : unbounded,
      limit);
  if (!models.process.points().empty()) {
    largest = std::min(
        largest, models.process.LargestWithin(
                     process_limit_ > 0 ? process_limit_ : unbounded, limit));
  }
  // Not worth a guess.
  const bool close = static_cast<double>(largest - was_run) <
                     kCloseEnough * static_cast<double>(largest);
  return close ? was_run : largest;
}

absl::Status Profiler::Refine() {
  for (int i = 0; i < kMaxRefinements; ++i) {
    FEDLB_ASSIGN_OR_RETURN(const int64_t within, LargestWithinBudgets());
    const int64_t last = profile_.points.back().batch_size;
    int64_t next = LargestThatSurelyFits(within);
    if (failed_ > 0) {
      // What was predicted to fit did not.
      next = std::min(next, last + (failed_ - last) / 2);
    }
    const double gain =
        static_cast<double>(next - last) / static_cast<double>(last);
    if (gain < kCloseEnough || TakesLong(next)) {
      return absl::OkStatus();
    }
    const absl::Status measured = Measure(next, false);
    if (FailureOf(measured) == Failure::kOutOfMemory) {
      failed_ = next;
    } else {
      FEDLB_RETURN_IF_ERROR(measured);
    }
  }
  return absl::OkStatus();
}

}  // namespace

DeviceProfile DescribeDevice(const Federation& f) {
  DeviceProfile profile;
  profile.model = f.NameOf("model");
  profile.dataset = f.NameOf("dataset");
  profile.optimizer = f.NameOf("optimizer");
  profile.precision = f.config.run.precision;
  profile.device = absl::StrCat(f.config.run.device, ": ", DescribeCpu());
  profile.parameters = NumElements(f.model->parameters());
  profile.model_bytes =
      NumBytes(f.model->parameters()) + NumBytes(f.model->buffers());
  profile.workers =
      std::min(f.transport->concurrency(), f.config.cohort_size());
  profile.batches_per_step =
      f.sync_policy->Plan(0).kind == RoundWork::Kind::kGradient
          ? f.config.cohort_size()
          : 1;
  for (const int64_t count : f.num_examples) {
    profile.train_examples += count;
  }
  profile.client_examples = static_cast<double>(profile.train_examples) /
                            static_cast<double>(f.num_examples.size());
  return profile;
}

absl::StatusOr<DeviceProfile> ProfileDevice(Federation& federation,
                                            const ProfileOptions& options) {
  return Profiler(federation, options).Run();
}

}  // namespace fedlb
