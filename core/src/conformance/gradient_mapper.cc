#include "fedlb/gradient_mapper.h"

#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "conformance/suite.h"

namespace fedlb::conformance {
namespace {

// Like a small convolutional network's.
TensorLayout GradientLayout(at::ScalarType dtype) {
  return {{"conv.weight", {8, 1, 3, 3}, dtype},
          {"conv.bias", {8}, dtype},
          {"fc.weight", {10, 32}, dtype},
          {"fc.bias", {10}, dtype}};
}

absl::StatusOr<std::unique_ptr<GradientMapper>> MakeMapper(
    const Suite& suite, at::ScalarType dtype = at::kFloat) {
  ComponentContext context = suite.Context();
  context.dtype = dtype;
  FEDLB_ASSIGN_OR_RETURN(auto mapper, suite.Create<GradientMapper>(context));
  FEDLB_RETURN_IF_ERROR(
      Annotate(mapper->Prepare(GradientLayout(dtype)), "Prepare"));
  return mapper;
}

// Step `step` of a run: a gradient whose partial means, where they are asked
// for, average to it.
struct MapperStep {
  StepContext context;
  TensorList gradient;
};

MapperStep MakeStep(const GradientMapper& mapper, int64_t step,
                    at::ScalarType dtype = at::kFloat) {
  const TensorLayout layout = GradientLayout(dtype);
  MapperStep made;
  made.context.step = step;
  made.context.round = step;
  made.context.epoch = 0.1 * static_cast<double>(step);
  made.context.lr = 0.1;
  made.context.batch_size = 256;
  made.context.critical = step % 2 == 0;
  made.context.gradient_change = made.context.critical ? 0.9 : 0.1;
  if (!mapper.NeedsPartialMeans()) {
    made.gradient = RandomTensors(layout, 1 + static_cast<uint64_t>(step));
    return made;
  }
  made.gradient = Zeros(layout);
  for (int64_t group = 0; group < kMaxPartialMeans; ++group) {
    made.context.partial_means.push_back(RandomTensors(
        layout, static_cast<uint64_t>(1000 * (step + 1) + group)));
    AddScaled(made.context.partial_means.back(),
              1.0 / static_cast<double>(kMaxPartialMeans), made.gradient);
  }
  return made;
}

// Maps the gradients of steps [begin, end) and gives the last one.
absl::StatusOr<TensorList> RunSteps(GradientMapper& mapper, int64_t begin,
                                    int64_t end) {
  TensorList mapped;
  for (int64_t step = begin; step < end; ++step) {
    MapperStep made = MakeStep(mapper, step);
    FEDLB_RETURN_IF_ERROR(
        Annotate(mapper.ObserveAggregate(made.context, made.gradient),
                 "ObserveAggregate"));
    mapped = std::move(made.gradient);
    FEDLB_RETURN_IF_ERROR(Annotate(mapper.Map(made.context, mapped),
                                   absl::StrCat("Map of step ", step)));
  }
  return mapped;
}

absl::Status CheckShape(const Suite& suite) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    FEDLB_ASSIGN_OR_RETURN(auto mapper, MakeMapper(suite, dtype));
    for (int64_t step = 0; step < 5; ++step) {
      MapperStep made = MakeStep(*mapper, step, dtype);
      FEDLB_RETURN_IF_ERROR(mapper->Map(made.context, made.gradient));
      FEDLB_RETURN_IF_ERROR(
          Annotate(CheckLayout(GradientLayout(dtype), made.gradient),
                   absl::StrCat("mapped gradient of step ", step)));
      FEDLB_RETURN_IF_ERROR(ExpectFinite(made.gradient, "a mapped gradient"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckZero(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto mapper, MakeMapper(suite));
  for (int64_t step = 0; step < 3; ++step) {
    MapperStep made = MakeStep(*mapper, step);
    Scale(0, made.gradient);
    for (TensorList& mean : made.context.partial_means) {
      Scale(0, mean);
    }
    FEDLB_RETURN_IF_ERROR(mapper->Map(made.context, made.gradient));
    FEDLB_RETURN_IF_ERROR(
        ExpectFinite(made.gradient, "the map of a zero gradient"));
  }
  return absl::OkStatus();
}

absl::Status CheckInputs(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto mapper, MakeMapper(suite));
  MapperStep made = MakeStep(*mapper, 0);
  const MapperStep original = MakeStep(*mapper, 0);
  FEDLB_RETURN_IF_ERROR(mapper->Map(made.context, made.gradient));
  for (size_t i = 0; i < made.context.partial_means.size(); ++i) {
    FEDLB_RETURN_IF_ERROR(ExpectSameBits(made.context.partial_means[i],
                                         original.context.partial_means[i],
                                         absl::StrCat("partial mean ", i)));
  }
  const TensorList aggregate = Clone(original.gradient);
  FEDLB_RETURN_IF_ERROR(mapper->ObserveAggregate(original.context, aggregate));
  return ExpectSameBits(aggregate, original.gradient,
                        "the aggregate that was observed");
}

absl::Status CheckOldGradients(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto mapper, MakeMapper(suite));
  FEDLB_ASSIGN_OR_RETURN(const TensorList first, RunSteps(*mapper, 0, 1));
  const TensorList kept = Clone(first);
  FEDLB_RETURN_IF_ERROR(RunSteps(*mapper, 1, 3).status());
  return ExpectSameBits(first, kept, "a mapped gradient after later steps");
}

absl::Status CheckRepeats(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto first, MakeMapper(suite));
  FEDLB_ASSIGN_OR_RETURN(auto second, MakeMapper(suite));
  FEDLB_ASSIGN_OR_RETURN(const TensorList a, RunSteps(*first, 0, 4));
  FEDLB_ASSIGN_OR_RETURN(const TensorList b, RunSteps(*second, 0, 4));
  return ExpectSameBits(a, b, "mapped gradients of two instances");
}

absl::Status CheckResume(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto steady, MakeMapper(suite));
  FEDLB_ASSIGN_OR_RETURN(auto resumed, MakeMapper(suite));
  FEDLB_RETURN_IF_ERROR(RunSteps(*steady, 0, 5).status());
  FEDLB_RETURN_IF_ERROR(
      Annotate(resumed->LoadState(steady->SaveState()), "LoadState"));
  FEDLB_ASSIGN_OR_RETURN(const TensorList a, RunSteps(*steady, 5, 9));
  FEDLB_ASSIGN_OR_RETURN(const TensorList b, RunSteps(*resumed, 5, 9));
  return ExpectSameBits(a, b, "mapped gradient after loading the state");
}

absl::Status CheckRefusals(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto mapper, MakeMapper(suite));
  MapperStep made = MakeStep(*mapper, 0);
  TensorList empty;
  FEDLB_RETURN_IF_ERROR(ExpectCode(mapper->Map(made.context, empty),
                                   absl::StatusCode::kInvalidArgument,
                                   "Map of an empty gradient"));
  if (!mapper->NeedsPartialMeans()) {
    return absl::OkStatus();
  }
  made.context.partial_means.clear();
  return ExpectCode(mapper->Map(made.context, made.gradient),
                    absl::StatusCode::kInvalidArgument,
                    "Map without partial means");
}

absl::Status CheckReport(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto mapper, MakeMapper(suite));
  for (int64_t step = 0; step < 4; ++step) {
    FEDLB_RETURN_IF_ERROR(RunSteps(*mapper, step, step + 1).status());
    for (const auto& [name, value] : mapper->Report()) {
      FEDLB_RETURN_IF_ERROR(
          Expect(std::isfinite(value),
                 absl::StrCat("the report says ", name, " = ", value)));
    }
  }
  return absl::OkStatus();
}

}  // namespace

void CheckGradientMapper(Suite& suite) {
  suite.Check("shapes and types are kept and values finite",
              [&] { return CheckShape(suite); });
  suite.Check("a zero gradient stays finite", [&] { return CheckZero(suite); });
  suite.Check("partial means and aggregates stay as they were",
              [&] { return CheckInputs(suite); });
  suite.Check("a mapped gradient outlives the next step",
              [&] { return CheckOldGradients(suite); });
  suite.Check("two instances give the same bits",
              [&] { return CheckRepeats(suite); });
  suite.Check("a loaded state goes on with the same bits",
              [&] { return CheckResume(suite); });
  suite.Check("gradients that cannot be mapped are refused",
              [&] { return CheckRefusals(suite); });
  suite.Check("the report is finite", [&] { return CheckReport(suite); });
}

}  // namespace fedlb::conformance
