#include "fedlb/teacher.h"

#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "conformance/suite.h"

namespace fedlb::conformance {
namespace {

constexpr int64_t kGroups = 5;

// Like a small network's.
TensorLayout GradientLayout(at::ScalarType dtype) {
  return {{"conv.weight", {8, 1, 3, 3}, dtype},
          {"conv.bias", {8}, dtype},
          {"fc.weight", {10, 32}, dtype},
          {"fc.bias", {10}, dtype}};
}

absl::StatusOr<std::unique_ptr<Teacher>> MakeTeacher(
    const Suite& suite, at::ScalarType dtype = at::kFloat) {
  ComponentContext context = suite.Context();
  context.dtype = dtype;
  FEDLB_ASSIGN_OR_RETURN(auto teacher, suite.Create<Teacher>(context));
  FEDLB_RETURN_IF_ERROR(
      Annotate(teacher->Prepare(GradientLayout(dtype)), "Prepare"));
  return teacher;
}

// A step of a run and its gradient, the mean of the partial means.
struct MadeStep {
  TeacherStep step;
  TensorList gradient;
};

MadeStep MakeStep(int64_t index, at::ScalarType dtype = at::kFloat) {
  const TensorLayout layout = GradientLayout(dtype);
  MadeStep made;
  StepContext& context = made.step.context;
  context.step = index;
  context.round = index;
  context.lr = 0.1;
  context.batch_size = 64 * kGroups;
  made.step.small_steps = 8;
  made.gradient = Zeros(layout);
  for (int64_t group = 0; group < kGroups; ++group) {
    context.partial_means.push_back(RandomTensors(
        layout, static_cast<uint64_t>(1000 * (index + 1) + group)));
    AddScaled(context.partial_means.back(), 1.0 / kGroups, made.gradient);
  }
  return made;
}

// Maps and observes steps [begin, end) and gives the last image.
absl::StatusOr<TensorList> RunSteps(Teacher& teacher, int64_t begin,
                                    int64_t end,
                                    at::ScalarType dtype = at::kFloat) {
  TensorList image;
  for (int64_t index = begin; index < end; ++index) {
    MadeStep made = MakeStep(index, dtype);
    image = std::move(made.gradient);
    FEDLB_RETURN_IF_ERROR(Annotate(teacher.Map(made.step, image),
                                   absl::StrCat("Map of step ", index)));
    FEDLB_RETURN_IF_ERROR(Annotate(teacher.Observe(made.step),
                                   absl::StrCat("Observe of step ", index)));
  }
  return image;
}

absl::Status CheckShape(const Suite& suite) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    FEDLB_ASSIGN_OR_RETURN(auto teacher, MakeTeacher(suite, dtype));
    for (int64_t index = 0; index < 5; ++index) {
      FEDLB_ASSIGN_OR_RETURN(const TensorList image,
                             RunSteps(*teacher, index, index + 1, dtype));
      FEDLB_RETURN_IF_ERROR(Annotate(CheckLayout(GradientLayout(dtype), image),
                                     absl::StrCat("image of step ", index)));
      FEDLB_RETURN_IF_ERROR(ExpectFinite(image, "an image"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckZero(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto teacher, MakeTeacher(suite));
  for (int64_t index = 0; index < 3; ++index) {
    MadeStep made = MakeStep(index);
    Scale(0, made.gradient);
    for (TensorList& mean : made.step.context.partial_means) {
      Scale(0, mean);
    }
    FEDLB_RETURN_IF_ERROR(teacher->Map(made.step, made.gradient));
    FEDLB_RETURN_IF_ERROR(teacher->Observe(made.step));
    FEDLB_RETURN_IF_ERROR(
        ExpectFinite(made.gradient, "the image of a zero gradient"));
  }
  return absl::OkStatus();
}

absl::Status CheckInputs(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto teacher, MakeTeacher(suite));
  FEDLB_RETURN_IF_ERROR(RunSteps(*teacher, 0, 2).status());
  MadeStep made = MakeStep(2);
  const MadeStep original = MakeStep(2);
  FEDLB_RETURN_IF_ERROR(teacher->Map(made.step, made.gradient));
  FEDLB_RETURN_IF_ERROR(teacher->Observe(made.step));
  for (size_t i = 0; i < made.step.context.partial_means.size(); ++i) {
    FEDLB_RETURN_IF_ERROR(ExpectSameBits(made.step.context.partial_means[i],
                                         original.step.context.partial_means[i],
                                         absl::StrCat("partial mean ", i)));
  }
  const TensorList kept = Clone(made.gradient);
  FEDLB_RETURN_IF_ERROR(RunSteps(*teacher, 3, 5).status());
  return ExpectSameBits(made.gradient, kept, "an image after later steps");
}

absl::Status CheckRepeats(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto first, MakeTeacher(suite));
  FEDLB_ASSIGN_OR_RETURN(auto second, MakeTeacher(suite));
  FEDLB_ASSIGN_OR_RETURN(const TensorList a, RunSteps(*first, 0, 6));
  FEDLB_ASSIGN_OR_RETURN(const TensorList b, RunSteps(*second, 0, 6));
  return ExpectSameBits(a, b, "images of two instances");
}

absl::Status CheckResume(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto steady, MakeTeacher(suite));
  FEDLB_ASSIGN_OR_RETURN(auto fresh, MakeTeacher(suite));
  FEDLB_ASSIGN_OR_RETURN(auto used, MakeTeacher(suite));
  FEDLB_RETURN_IF_ERROR(RunSteps(*steady, 0, 5).status());
  FEDLB_RETURN_IF_ERROR(RunSteps(*used, 20, 23).status());
  const ComponentState state = steady->SaveState();
  FEDLB_RETURN_IF_ERROR(Annotate(fresh->LoadState(state), "LoadState"));
  FEDLB_RETURN_IF_ERROR(
      Annotate(used->LoadState(state), "LoadState after other steps"));
  FEDLB_ASSIGN_OR_RETURN(const TensorList a, RunSteps(*steady, 5, 12));
  FEDLB_ASSIGN_OR_RETURN(const TensorList b, RunSteps(*fresh, 5, 12));
  FEDLB_ASSIGN_OR_RETURN(const TensorList c, RunSteps(*used, 5, 12));
  FEDLB_RETURN_IF_ERROR(ExpectSameBits(a, b, "image after loading the state"));
  return ExpectSameBits(a, c, "image of a used teacher after loading");
}

absl::Status CheckSnapshot(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto teacher, MakeTeacher(suite));
  FEDLB_RETURN_IF_ERROR(RunSteps(*teacher, 0, 4).status());
  const auto map_without_learning = [&]() -> absl::StatusOr<TensorList> {
    MadeStep made = MakeStep(4);
    made.step.context.may_learn = false;
    FEDLB_RETURN_IF_ERROR(teacher->Map(made.step, made.gradient));
    return made.gradient;
  };
  FEDLB_ASSIGN_OR_RETURN(const TensorList first, map_without_learning());
  FEDLB_ASSIGN_OR_RETURN(const TensorList second, map_without_learning());
  return ExpectSameBits(first, second,
                        "images of a teacher that may not learn");
}

absl::Status CheckStateBytes(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto teacher, MakeTeacher(suite));
  FEDLB_RETURN_IF_ERROR(RunSteps(*teacher, 0, 20).status());
  int64_t held = 0;
  for (const auto& [name, tensors] : teacher->SaveState().tensors) {
    held += NumBytes(tensors);
  }
  const int64_t declared = teacher->StateBytes(GradientLayout(at::kFloat));
  return Expect(held <= declared,
                absl::StrCat("the state takes ", held, " bytes, declared are ",
                             declared));
}

absl::Status CheckRefusals(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto teacher, MakeTeacher(suite));
  FEDLB_RETURN_IF_ERROR(RunSteps(*teacher, 0, 2).status());
  MadeStep made = MakeStep(2);
  TensorList wrong;
  FEDLB_RETURN_IF_ERROR(ExpectCode(teacher->Map(made.step, wrong),
                                   absl::StatusCode::kInvalidArgument,
                                   "Map of an empty gradient"));
  wrong = RandomTensors({{"other", {3, 3}, at::kFloat}}, 1);
  FEDLB_RETURN_IF_ERROR(ExpectCode(teacher->Map(made.step, wrong),
                                   absl::StatusCode::kInvalidArgument,
                                   "Map of a gradient of another model"));
  if (!teacher->NeedsPartialMeans()) {
    return absl::OkStatus();
  }
  MadeStep broken = MakeStep(2);
  broken.step.context.partial_means[1][0].fill_(NAN);
  FEDLB_RETURN_IF_ERROR(ExpectCode(teacher->Observe(broken.step),
                                   absl::StatusCode::kInvalidArgument,
                                   "Observe of a mean that is not finite"));
  made.step.context.partial_means.clear();
  FEDLB_RETURN_IF_ERROR(ExpectCode(teacher->Map(made.step, made.gradient),
                                   absl::StatusCode::kInvalidArgument,
                                   "Map without partial means"));
  return ExpectCode(teacher->Observe(made.step),
                    absl::StatusCode::kInvalidArgument,
                    "Observe without partial means");
}

absl::Status CheckReport(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto teacher, MakeTeacher(suite));
  for (int64_t index = 0; index < 4; ++index) {
    FEDLB_RETURN_IF_ERROR(RunSteps(*teacher, index, index + 1).status());
    const ScalarMap report = teacher->Report();
    FEDLB_RETURN_IF_ERROR(
        Expect(report.contains("norm_ratio"), "the report lacks norm_ratio"));
    for (const auto& [name, value] : report) {
      FEDLB_RETURN_IF_ERROR(
          Expect(std::isfinite(value),
                 absl::StrCat("the report says ", name, " = ", value)));
    }
  }
  return absl::OkStatus();
}

}  // namespace

void CheckTeacher(Suite& suite) {
  suite.Check("shapes and types are kept and values finite",
              [&] { return CheckShape(suite); });
  suite.Check("a zero gradient stays finite", [&] { return CheckZero(suite); });
  suite.Check("partial means stay as they were and images outlive later steps",
              [&] { return CheckInputs(suite); });
  suite.Check("two instances give the same bits",
              [&] { return CheckRepeats(suite); });
  suite.Check("a loaded state goes on with the same bits",
              [&] { return CheckResume(suite); });
  suite.Check("Map changes nothing where it may not learn",
              [&] { return CheckSnapshot(suite); });
  suite.Check("the state is within the declared bytes",
              [&] { return CheckStateBytes(suite); });
  suite.Check("what cannot be mapped or learnt is refused",
              [&] { return CheckRefusals(suite); });
  suite.Check("the report is finite", [&] { return CheckReport(suite); });
}

}  // namespace fedlb::conformance
