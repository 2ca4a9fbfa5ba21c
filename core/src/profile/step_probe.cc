#include "profile/step_probe.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "evaluation.h"
#include "fedlb/lr_schedule.h"
#include "fedlb/memory.h"
#include "fedlb/status.h"
#include "profile/machine.h"

namespace fedlb {
namespace {

constexpr char kEvaluationFailed[] =
    "an evaluation, which evaluation.batch_size = N makes smaller";

// Steps of a learning rate that moves no weight far, so that however many are
// run none diverges. Not zero: some methods divide by it.
class StandingStill final : public LrSchedule {
 public:
  double Factor(int64_t /*round*/, int64_t /*num_rounds*/) const override {
    return 1e-6;
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<StepProbe>> StepProbe::Open(
    Federation& federation, const std::atomic<int>* stop) {
  Federation& f = federation;
  if (f.aggregator->min_updates() > 1) {
    return ConfigError(absl::StrCat(
        "[aggregator] ", f.NameOf("aggregator"), " needs ",
        f.aggregator->min_updates(),
        " updates, and a profile is of one client; measure it with --set "
        "aggregator.name=mean"));
  }
  std::vector<int64_t> all;
  for (const std::vector<int64_t>& examples : f.partition) {
    all.insert(all.end(), examples.begin(), examples.end());
  }
  f.partition.assign(f.partition.size(), {});
  f.partition[0] = std::move(all);
  f.num_examples.assign(f.partition.size(), 0);
  f.num_examples[0] = static_cast<int64_t>(f.partition[0].size());
  f.config.federation.min_cohort = 1;
  f.clock = VirtualClock();  // nobody is late or absent
  f.lr_schedule = std::make_unique<StandingStill>();
  f.environment.stop = stop;

  FEDLB_RETURN_IF_ERROR(Annotate(f.transport->Open(*f.host), "[transport]"));
  if (f.host->num_workers() == 0) {
    FEDLB_RETURN_IF_ERROR(f.host->StartWorkers(1));
  }
  FEDLB_RETURN_IF_ERROR(
      Annotate(f.gradient_mapper->WarmStart(), "[gradient_mapper]"));
  std::unique_ptr<StepProbe> probe(new StepProbe(f, RunState(f)));
  const absl::StatusOr<int64_t> evaluation = probe->MeasureEvaluation();
  FEDLB_RETURN_IF_ERROR(Annotate(evaluation.status(), kEvaluationFailed));
  // Two examples, because batch normalisation cannot do with one everywhere.
  FEDLB_RETURN_IF_ERROR(
      probe->RunSteps(std::min<int64_t>(2, probe->num_examples()), 1).status());
  probe->resident_bytes_ = GetMemoryStats().current_total;
  probe->evaluation_bytes_ = probe->resident_bytes_ + *evaluation;
  return probe;
}

int64_t StepProbe::num_examples() const { return federation_.num_examples[0]; }

absl::StatusOr<int64_t> StepProbe::MeasureEvaluation() {
  Federation& f = federation_;
  const int64_t workers = f.host->num_workers();
  ResetPeakMemory();
  const int64_t before = GetMemoryStats().current_total;
  // One chunk, whichever split has the larger.
  const bool validates = f.validation.size() > f.test.size();
  std::vector<int64_t> indices = validates ? f.validation : f.test;
  indices.resize(std::min(indices.size(),
                          static_cast<size_t>(f.config.evaluation.batch_size)));
  FEDLB_RETURN_IF_ERROR(Evaluate(*f.host, state_.weights, state_.buffers,
                                 validates ? Split::kTrain : Split::kTest,
                                 indices, f.config.evaluation.batch_size)
                            .status());
  const int64_t chunk = GetMemoryStats().peak_total - before;
  const auto chunks = static_cast<int64_t>(
      (std::max(f.test.size(), f.validation.size()) + indices.size() - 1) /
      std::max<size_t>(1, indices.size()));
  return chunk * std::min(workers, chunks);
}

absl::StatusOr<ScalarMap> StepProbe::RunSteps(int64_t batch_size,
                                              int64_t steps) {
  RoundWork work = federation_.sync_policy->Plan(0);
  if (work.base_round >= 0) {
    work.base_round = state_.next_round;
  }
  if (work.kind == RoundWork::Kind::kLocalSteps) {
    work.local_steps = steps;
    work.local_epochs = 0;
  }
  // From the beginning of an epoch, or the end of one would cut a batch short.
  ClientStateStore& states = federation_.host->states();
  ClientState client_state = states.Get(0);
  client_state.cursor = 0;
  states.Stage(0, std::move(client_state));
  states.Commit();
  steps_run_ += work.kind == RoundWork::Kind::kLocalSteps ? steps : 1;
  return runner_.Run(work, {{.client = 0, .batch_size = batch_size}});
}

absl::StatusOr<ProfilePoint> StepProbe::MeasureMemory(int64_t batch_size) {
  Federation& f = federation_;
  ReleaseCachedMemory();
  TrimHeap();  // of what other batch sizes left
  ResetPeakResident();
  ResetPeakMemory();
  const int64_t before = GetMemoryStats().current_total;
  // An optimizer of the client's makes its state in the first local step, so
  // that the second is the first with all of it in memory.
  FEDLB_RETURN_IF_ERROR(RunSteps(batch_size, 2).status());
  const MemoryStats memory = GetMemoryStats();
  of_other_workers_ =
      (std::min(f.transport->concurrency(), f.config.cohort_size()) - 1) *
      std::max<int64_t>(0, memory.peak_total - before);
  return ProfilePoint{.batch_size = batch_size,
                      .memory_bytes = memory.peak_total + of_other_workers_,
                      .tag_bytes = memory.peak};
}

absl::StatusOr<int64_t> StepProbe::MeasureProcess() {
  // What a checkpoint adds while it is there to be written.
  FEDLB_RETURN_IF_ERROR(MakeCheckpoint(state_, federation_).status());
  const int64_t bytes = PeakResidentBytes();
  return bytes == 0 ? 0 : bytes + of_other_workers_;
}

absl::StatusOr<ProfilePoint> StepProbe::TimeStep(int64_t batch_size) {
  FEDLB_ASSIGN_OR_RETURN(ScalarMap metrics, RunSteps(batch_size, 1));
  return ProfilePoint{.batch_size = batch_size,
                      .num_timed = 1,
                      .step_seconds = metrics["batch_seconds"],
                      .data_seconds = metrics["data_seconds"],
                      .forward_seconds = metrics["forward_seconds"],
                      .backward_seconds = metrics["backward_seconds"],
                      .optimizer_seconds = metrics["optimizer_seconds"]};
}

}  // namespace fedlb
