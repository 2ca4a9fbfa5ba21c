// The conformance suites find what is wrong, and only that.

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fedlb/aggregator.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/model.h"
#include "fedlb/optimizer.h"
#include "fedlb/param_schema.h"
#include "fedlb/plugin.h"
#include "fedlb/testing/conformance.h"
#include "fedlb/transport.h"
#include "fedlb/weighted_mean.h"

namespace fedlb {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Names of the checks that C fails.
template <typename C>
std::vector<std::string> FailedChecks() {
  PluginRegistrar registrar;
  registrar.Add<C>();
  const ComponentRegistry registry;
  std::vector<std::string> failed;
  for (const auto& result :
       conformance::RunConformance(registrar.entries().front(), registry)) {
    if (!result.status.ok() && !result.skipped) {
      failed.push_back(result.check);
    }
  }
  return failed;
}

enum class Fault {
  kNone,
  kAlias,
  kLastWins,
  kKeepsOldRound,
  kWrongType,
  kWrongState,
  kWrongShape,
  kNotFinite,
  kForgetsState,
  kGlobalState,
  kTwice,
  kLosesState,
  kStopsAtFailure,
  kChangesWeights,
};

struct NoOptions {};

// What every component below has in common.
template <typename Self>
struct Named {
  using Options = NoOptions;
  static constexpr char kName[] = "faulty";
  static constexpr char kSummary[] = "Breaks one promise.";
  static ParamSchema<Options> Schema() { return {}; }
  static absl::StatusOr<std::unique_ptr<Self>> Create(
      const Options&, const ComponentContext& context) {
    auto self = std::make_unique<Self>();
    self->context = context;
    return self;
  }
  ComponentContext context;
};

template <Fault kFault>
class FaultyMean final : public Aggregator, public Named<FaultyMean<kFault>> {
 public:
  std::optional<TensorList> LinearState() override {
    TensorList state = mean_.LinearState();
    if (kFault == Fault::kWrongState) {
      state.back().mul_(state.back());
    }
    return state;
  }

 private:
  absl::Status DoBegin(const TensorLayout& layout) override {
    if (kFault != Fault::kKeepsOldRound || num_begun_++ == 0) {
      mean_.Begin(layout);
    }
    return absl::OkStatus();
  }
  absl::Status DoAdd(const Update& update) override {
    last_ = update.parameters();
    mean_.Add(last_, static_cast<double>(update.num_examples));
    return absl::OkStatus();
  }
  absl::StatusOr<TensorList> DoFinish() override {
    if (kFault == Fault::kAlias) {
      Copy(mean_.Mean(), last_);
      return last_;
    }
    if (kFault == Fault::kLastWins) {
      return Clone(last_);
    }
    TensorList mean = mean_.Mean();
    if (kFault == Fault::kWrongType) {
      for (at::Tensor& tensor : mean) {
        tensor = tensor.to(at::kFloat);
      }
    }
    return mean;
  }

  WeightedMean mean_;
  TensorList last_;
  int num_begun_ = 0;
};

TEST(AggregatorSuiteTest, FindsEachFault) {
  EXPECT_THAT(FailedChecks<FaultyMean<Fault::kNone>>(), IsEmpty());
  EXPECT_THAT(FailedChecks<FaultyMean<Fault::kAlias>>(),
              Contains("updates stay as they were and are not in the result"));
  EXPECT_THAT(FailedChecks<FaultyMean<Fault::kLastWins>>(),
              ElementsAre("the order of the clients changes nothing"));
  EXPECT_THAT(FailedChecks<FaultyMean<Fault::kKeepsOldRound>>(),
              Contains("a round that was given up leaves nothing behind"));
  EXPECT_THAT(FailedChecks<FaultyMean<Fault::kWrongType>>(),
              ElementsAre("shapes and types are kept"));
  EXPECT_THAT(FailedChecks<FaultyMean<Fault::kWrongState>>(),
              ElementsAre("linear states add up"));
}

int64_t global_calls = 0;

template <Fault kFault>
class FaultyMapper final : public GradientMapper,
                           public Named<FaultyMapper<kFault>> {
 public:
  ComponentState SaveState() const override {
    ComponentState state;
    if (kFault != Fault::kForgetsState && calls_ > 0) {
      state.scalars["calls"] = static_cast<double>(calls_);
    }
    return state;
  }
  absl::Status LoadState(const ComponentState& state) override {
    const auto found = state.scalars.find("calls");
    if (!state.tensors.empty() ||
        state.scalars.size() != (found != state.scalars.end() ? 1 : 0)) {
      return absl::InvalidArgumentError("not a state of this mapper");
    }
    calls_ =
        found != state.scalars.end() ? static_cast<int64_t>(found->second) : 0;
    return absl::OkStatus();
  }

 private:
  absl::Status DoMap(const StepContext&, TensorList& gradient) override {
    ++calls_;
    ++global_calls;
    const int64_t seen = kFault == Fault::kGlobalState ? global_calls : calls_;
    Scale(1.0 + static_cast<double>(seen), gradient);
    if (kFault == Fault::kWrongShape) {
      gradient.back() = gradient.back().unsqueeze(0);
    }
    if (kFault == Fault::kNotFinite) {
      Scale(1 / std::sqrt(SquaredNorm(gradient)), gradient);
    }
    return absl::OkStatus();
  }

  int64_t calls_ = 0;
};

TEST(GradientMapperSuiteTest, FindsEachFault) {
  EXPECT_THAT(FailedChecks<FaultyMapper<Fault::kNone>>(), IsEmpty());
  EXPECT_THAT(FailedChecks<FaultyMapper<Fault::kWrongShape>>(),
              Contains("shapes and types are kept and values finite"));
  EXPECT_THAT(FailedChecks<FaultyMapper<Fault::kNotFinite>>(),
              ElementsAre("a zero gradient stays finite"));
  EXPECT_THAT(FailedChecks<FaultyMapper<Fault::kForgetsState>>(),
              ElementsAre("a loaded state goes on with the same bits"));
  EXPECT_THAT(FailedChecks<FaultyMapper<Fault::kGlobalState>>(),
              Contains("two instances give the same bits"));
}

template <Fault kFault>
class FaultyTransport final : public Transport,
                              public Named<FaultyTransport<kFault>> {
 public:
  int64_t concurrency() const override { return 2; }
  TransportTraffic traffic() const override { return {}; }

 private:
  absl::Status DoOpen(ClientHost& host) override {
    host_ = &host;
    return host.StartWorkers(2);
  }
  absl::Status DoRunRound(const RoundTask& task,
                          absl::Span<const ClientAssignment> cohort,
                          UpdateSink& sink) override {
    const auto size = static_cast<int64_t>(cohort.size());
    absl::Mutex mutex;
    absl::Status failure;
    host_->ForEach(size, [&](ClientWorker& worker, int64_t slot) {
      if (!sink.Admit(slot)) {
        return;
      }
      const ClientAssignment& assignment = cohort[static_cast<size_t>(slot)];
      ClientState state = host_->states().Get(assignment.client);
      auto update = worker.Run(task, assignment, state);
      if (kFault == Fault::kTwice && update.ok()) {
        update = worker.Run(task, assignment, state);
      }
      if (!update.ok()) {
        absl::MutexLock lock(&mutex);
        failure = update.status();
        sink.Drop(slot, failure);
        return;
      }
      if (kFault != Fault::kLosesState) {
        host_->states().Stage(assignment.client, state);
      }
      sink.Deliver(slot, *std::move(update));
    });
    if (kFault == Fault::kChangesWeights) {
      TensorList weights = task.weights;
      Scale(2, weights);
    }
    return kFault == Fault::kStopsAtFailure ? failure : absl::OkStatus();
  }

  ClientHost* host_ = nullptr;
};

TEST(TransportSuiteTest, FindsEachFault) {
  EXPECT_THAT(FailedChecks<FaultyTransport<Fault::kNone>>(), IsEmpty());
  EXPECT_THAT(FailedChecks<FaultyTransport<Fault::kTwice>>(),
              Contains("every client of a cohort does the task exactly once"));
  EXPECT_THAT(FailedChecks<FaultyTransport<Fault::kLosesState>>(),
              ElementsAre("clients keep their states"));
  EXPECT_THAT(FailedChecks<FaultyTransport<Fault::kStopsAtFailure>>(),
              Contains("a failing client is dropped with its cause"));
  EXPECT_THAT(FailedChecks<FaultyTransport<Fault::kChangesWeights>>(),
              Contains("every client of a cohort does the task exactly once"));
}

struct UndocumentedOptions {
  double gain = 1;
};

class Undocumented final : public GradientMapper {
 public:
  using Options = UndocumentedOptions;
  static constexpr char kName[] = "Undocumented";
  static constexpr char kSummary[] = "no sentence";
  static ParamSchema<Options> Schema() {
    return ParamSchema<Options>().Add("gain", &Options::gain, "");
  }
  static absl::StatusOr<std::unique_ptr<Undocumented>> Create(
      const Options&, const ComponentContext&) {
    return std::make_unique<Undocumented>();
  }

 private:
  absl::Status DoMap(const StepContext&, TensorList&) override {
    return absl::OkStatus();
  }
};

TEST(ComponentSuiteTest, FindsMissingDocumentation) {
  EXPECT_THAT(FailedChecks<Undocumented>(),
              ElementsAre("name, summary and parameters are described"));
}

class NotHere final : public GradientMapper, public Named<NotHere> {
 public:
  static absl::StatusOr<std::unique_ptr<NotHere>> Create(
      const NoOptions&, const ComponentContext&) {
    return absl::FailedPreconditionError("needs a device");
  }

 private:
  absl::Status DoMap(const StepContext&, TensorList&) override {
    return absl::OkStatus();
  }
};

TEST(ComponentSuiteTest, SkipsWhatCannotRunHere) {
  EXPECT_THAT(FailedChecks<NotHere>(), IsEmpty());
}

}  // namespace
}  // namespace fedlb
