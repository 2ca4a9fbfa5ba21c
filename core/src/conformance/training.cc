// The suites of models, optimizers and learning-rate schedules.

#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include <ATen/ops/empty.h>

#include "absl/strings/str_cat.h"
#include "conformance/suite.h"
#include "fedlb/lr_schedule.h"
#include "fedlb/model.h"
#include "fedlb/optimizer.h"
#include "fedlb/random.h"

namespace fedlb::conformance {
namespace {

// A context with a shape of example that the model takes.
absl::StatusOr<ComponentContext> ModelContext(const Suite& suite) {
  std::vector<std::vector<int64_t>> shapes = {{1, 28, 28}, {3, 32, 32}, {16}};
  if (!suite.deviations().example_shape.empty()) {
    shapes = {suite.deviations().example_shape};
  }
  absl::Status status;
  for (const std::vector<int64_t>& shape : shapes) {
    ComponentContext context = suite.Context();
    context.example_shape = shape;
    status = suite.CreateAny(context).status();
    if (status.ok()) {
      return context;
    }
  }
  return Annotate(status, "no shape of example is taken");
}

at::Tensor MakeInputs(const ComponentContext& context, int64_t batch) {
  std::vector<int64_t> sizes = context.example_shape;
  sizes.insert(sizes.begin(), batch);
  return RandomTensors({{"inputs", sizes, context.dtype}}, 17).front();
}

at::Tensor MakeTargets(const ComponentContext& context, int64_t batch) {
  at::Tensor targets = at::empty({batch}, at::kLong);
  for (int64_t i = 0; i < batch; ++i) {
    targets.mutable_data_ptr<int64_t>()[i] = i % context.num_classes;
  }
  return targets;
}

absl::Status CheckParameters(const Suite& suite,
                             const ComponentContext& context) {
  FEDLB_ASSIGN_OR_RETURN(auto model, suite.Create<Model>(context));
  FEDLB_RETURN_IF_ERROR(
      Expect(!model->parameters().empty(), "the model has no parameters"));
  FEDLB_RETURN_IF_ERROR(
      CheckLayout(model->parameter_layout(), model->parameters()));
  FEDLB_RETURN_IF_ERROR(CheckLayout(model->buffer_layout(), model->buffers()));
  FEDLB_RETURN_IF_ERROR(ExpectFinite(model->parameters(), "a weight"));
  std::set<std::string> names;
  for (const TensorLayout& layout :
       {model->parameter_layout(), model->buffer_layout()}) {
    for (const TensorSpec& spec : layout) {
      FEDLB_RETURN_IF_ERROR(
          Expect(!spec.name.empty() && names.insert(spec.name).second,
                 absl::StrCat("the name \"", spec.name, "\" is not unique")));
    }
  }
  for (size_t i = 0; i < model->parameters().size(); ++i) {
    const at::Tensor& parameter = model->parameters()[i];
    FEDLB_RETURN_IF_ERROR(
        Expect(parameter.is_leaf() && parameter.requires_grad() &&
                   parameter.is_contiguous() &&
                   parameter.scalar_type() == context.dtype,
               absl::StrCat(model->parameter_layout()[i].name,
                            " is not a contiguous leaf of the context's type "
                            "that requires gradients")));
  }
  return absl::OkStatus();
}

absl::Status CheckInitialWeights(const Suite& suite,
                                 const ComponentContext& context) {
  FEDLB_ASSIGN_OR_RETURN(auto first, suite.Create<Model>(context));
  FEDLB_ASSIGN_OR_RETURN(auto second, suite.Create<Model>(context));
  FEDLB_RETURN_IF_ERROR(ExpectSameBits(
      first->parameters(), second->parameters(), "weights of two copies"));
  if (!suite.deviations().seed_changes_weights) {
    return absl::OkStatus();
  }
  second.reset();  // large models come in twos, not in threes
  ComponentContext reseeded = context;
  reseeded.seed = 2;
  FEDLB_ASSIGN_OR_RETURN(auto other, suite.Create<Model>(reseeded));
  return Expect(
      Sha256Hex(first->parameters()) != Sha256Hex(other->parameters()),
      "the seed does not change the weights");
}

absl::Status CheckForward(const Suite& suite, const ComponentContext& context) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    ComponentContext typed = context;
    typed.dtype = dtype;
    FEDLB_ASSIGN_OR_RETURN(auto model, suite.Create<Model>(typed));
    for (const int64_t batch : {2, 7, 1}) {
      // Batch statistics of a single example need not exist.
      model->SetTraining(batch > 1);
      const at::Tensor inputs = MakeInputs(typed, batch);
      FEDLB_ASSIGN_OR_RETURN(const at::Tensor logits, model->Forward(inputs));
      FEDLB_RETURN_IF_ERROR(Annotate(
          CheckLayout({{"logits", {batch, context.num_classes}, dtype}},
                      {logits}),
          absl::StrCat("batch of ", batch)));
      FEDLB_RETURN_IF_ERROR(ExpectFinite({logits}, "the output"));
      FEDLB_RETURN_IF_ERROR(ExpectSameBits({inputs}, {MakeInputs(typed, batch)},
                                           "inputs after the forward pass"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckGradients(const Suite& suite,
                            const ComponentContext& context) {
  FEDLB_ASSIGN_OR_RETURN(auto model, suite.Create<Model>(context));
  FEDLB_ASSIGN_OR_RETURN(const at::Tensor logits,
                         model->Forward(MakeInputs(context, 20)));
  FEDLB_ASSIGN_OR_RETURN(const at::Tensor loss,
                         model->Loss(logits, MakeTargets(context, 20)));
  FEDLB_RETURN_IF_ERROR(Expect(loss.dim() == 0, "the loss is not a scalar"));
  FEDLB_RETURN_IF_ERROR(ExpectFinite({loss}, "the loss"));
  loss.backward();
  for (size_t i = 0; i < model->parameters().size(); ++i) {
    const at::Tensor& gradient = model->parameters()[i].grad();
    const std::string& name = model->parameter_layout()[i].name;
    FEDLB_RETURN_IF_ERROR(
        Expect(gradient.defined(), absl::StrCat("the loss ignores ", name)));
    FEDLB_RETURN_IF_ERROR(
        ExpectFinite({gradient}, absl::StrCat("the gradient of ", name)));
  }
  return absl::OkStatus();
}

absl::Status CheckEvaluation(const Suite& suite,
                             const ComponentContext& context) {
  FEDLB_ASSIGN_OR_RETURN(auto model, suite.Create<Model>(context));
  model->SetTraining(false);
  const TensorList buffers = Clone(model->buffers());
  const at::Tensor inputs = MakeInputs(context, 6);
  FEDLB_ASSIGN_OR_RETURN(const at::Tensor once, model->Forward(inputs));
  FEDLB_ASSIGN_OR_RETURN(const at::Tensor twice, model->Forward(inputs));
  FEDLB_RETURN_IF_ERROR(
      ExpectSameBits({once}, {twice}, "two evaluations of one batch"));
  FEDLB_RETURN_IF_ERROR(
      ExpectSameBits(buffers, model->buffers(), "buffers after an evaluation"));
  for (int64_t i = 0; i < 6; ++i) {
    FEDLB_ASSIGN_OR_RETURN(const at::Tensor alone,
                           model->Forward(inputs.narrow(0, i, 1)));
    FEDLB_RETURN_IF_ERROR(ExpectClose({alone}, {once.narrow(0, i, 1)},
                                      suite.deviations().tolerance * 10,
                                      "an example alone and in a batch"));
  }
  return absl::OkStatus();
}

absl::Status CheckTrainingRepeats(const Suite& suite,
                                  const ComponentContext& context) {
  std::vector<TensorList> outputs;
  for (int copy = 0; copy < 2; ++copy) {
    FEDLB_ASSIGN_OR_RETURN(auto model, suite.Create<Model>(context));
    model->SeedForward(3);
    FEDLB_ASSIGN_OR_RETURN(const at::Tensor logits,
                           model->Forward(MakeInputs(context, 8)));
    outputs.push_back({logits});
  }
  return ExpectSameBits(outputs[0], outputs[1],
                        "training passes of two copies with one seed");
}

absl::Status CheckWrongInputs(const Suite& suite,
                              const ComponentContext& context) {
  FEDLB_ASSIGN_OR_RETURN(auto model, suite.Create<Model>(context));
  const auto output =
      model->Forward(RandomTensors({{"x", {2, 3, 5, 7, 2}, at::kFloat}}, 1)[0]);
  return Expect(!output.ok(), "inputs of a wrong shape are accepted");
}

// Weights of two tensors and the gradient of half their squared norm.
TensorLayout WeightLayout() {
  return {{"weight", {4, 5}, at::kFloat}, {"bias", {5}, at::kFloat}};
}

absl::Status Descend(Optimizer& optimizer, int steps, TensorList& weights) {
  for (int step = 0; step < steps; ++step) {
    const TensorList gradient = Clone(weights);
    FEDLB_RETURN_IF_ERROR(optimizer.Step(gradient, 0.01, weights));
    FEDLB_RETURN_IF_ERROR(ExpectFinite(weights, "a weight"));
  }
  return absl::OkStatus();
}

absl::Status CheckDescent(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto optimizer, suite.Create<Optimizer>());
  FEDLB_RETURN_IF_ERROR(
      Expect(std::isfinite(optimizer->base_lr()) && optimizer->base_lr() >= 0,
             absl::StrCat("base_lr() is ", optimizer->base_lr())));
  TensorList weights = RandomTensors(WeightLayout(), 1);
  const double before = SquaredNorm(weights);
  FEDLB_RETURN_IF_ERROR(Descend(*optimizer, 30, weights));
  return Expect(SquaredNorm(weights) < before,
                "30 steps down a bowl lead upwards");
}

absl::Status CheckZeroRate(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto optimizer, suite.Create<Optimizer>());
  const TensorList original = RandomTensors(WeightLayout(), 1);
  TensorList weights = Clone(original);
  const TensorList gradient = RandomTensors(WeightLayout(), 2);
  FEDLB_RETURN_IF_ERROR(optimizer->Step(gradient, 0, weights));
  FEDLB_RETURN_IF_ERROR(
      ExpectSameBits(weights, original, "weights after a step of rate 0"));
  return ExpectSameBits(gradient, RandomTensors(WeightLayout(), 2),
                        "the gradient after a step");
}

absl::Status CheckReset(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto used, suite.Create<Optimizer>());
  FEDLB_ASSIGN_OR_RETURN(auto fresh, suite.Create<Optimizer>());
  TensorList other = RandomTensors(WeightLayout(), 5);
  FEDLB_RETURN_IF_ERROR(Descend(*used, 4, other));
  used->Reset();
  TensorList a = RandomTensors(WeightLayout(), 1);
  TensorList b = Clone(a);
  FEDLB_RETURN_IF_ERROR(Descend(*used, 4, a));
  FEDLB_RETURN_IF_ERROR(Descend(*fresh, 4, b));
  return ExpectSameBits(a, b, "weights after Reset and of a fresh instance");
}

absl::Status CheckOptimizerResume(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto steady, suite.Create<Optimizer>());
  FEDLB_ASSIGN_OR_RETURN(auto resumed, suite.Create<Optimizer>());
  TensorList a = RandomTensors(WeightLayout(), 1);
  FEDLB_RETURN_IF_ERROR(Descend(*steady, 5, a));
  TensorList b = Clone(a);
  FEDLB_RETURN_IF_ERROR(
      Annotate(resumed->LoadState(steady->SaveState()), "LoadState"));
  // Two copies of a state must not share its tensors.
  TensorList elsewhere = Clone(a);
  FEDLB_ASSIGN_OR_RETURN(auto third, suite.Create<Optimizer>());
  FEDLB_RETURN_IF_ERROR(third->LoadState(steady->SaveState()));
  FEDLB_RETURN_IF_ERROR(Descend(*third, 3, elsewhere));
  FEDLB_RETURN_IF_ERROR(Descend(*steady, 5, a));
  FEDLB_RETURN_IF_ERROR(Descend(*resumed, 5, b));
  return ExpectSameBits(a, b, "weights after loading the state");
}

absl::Status CheckStateBytes(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto optimizer, suite.Create<Optimizer>());
  TensorList weights = RandomTensors(WeightLayout(), 1);
  FEDLB_RETURN_IF_ERROR(Descend(*optimizer, 3, weights));
  int64_t bytes = 0;
  for (const auto& [name, tensors] : optimizer->SaveState().tensors) {
    bytes += NumBytes(tensors);
  }
  const int64_t declared = optimizer->StateBytes(WeightLayout());
  return Expect(bytes <= declared,
                absl::StrCat("the state takes ", bytes, " bytes where ",
                             declared, " are declared"));
}

absl::Status CheckWrongGradient(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto optimizer, suite.Create<Optimizer>());
  TensorList weights = RandomTensors(WeightLayout(), 1);
  TensorList gradient = RandomTensors(WeightLayout(), 2);
  gradient.pop_back();
  FEDLB_RETURN_IF_ERROR(ExpectCode(optimizer->Step(gradient, 0.1, weights),
                                   absl::StatusCode::kInvalidArgument,
                                   "Step with a missing tensor"));
  FEDLB_RETURN_IF_ERROR(ExpectSameBits(weights,
                                       RandomTensors(WeightLayout(), 1),
                                       "weights after a refused step"));
  FEDLB_RETURN_IF_ERROR(Descend(*optimizer, 1, weights));
  TensorList other = RandomTensors({{"weight", {3}, at::kFloat}}, 1);
  const TensorList other_gradient = Clone(other);
  const absl::Status status = optimizer->Step(other_gradient, 0.1, other);
  // Without state nothing ties a step to the first one's layout.
  return status.ok() && optimizer->SaveState().tensors.empty()
             ? absl::OkStatus()
             : ExpectCode(status, absl::StatusCode::kInvalidArgument,
                          "Step with another layout");
}

}  // namespace

void CheckModel(Suite& suite) {
  // Made by the first check, which catches what a model throws, and once: there
  // are models of 10^8 weights.
  std::optional<absl::StatusOr<ComponentContext>> context;
  const auto check = [&](absl::string_view promise, auto* body) {
    suite.Check(promise, [&]() -> absl::Status {
      if (!context.has_value()) {
        context = ModelContext(suite);
      }
      FEDLB_RETURN_IF_ERROR(context->status());
      return body(suite, **context);
    });
  };
  check("parameters and buffers are in order", CheckParameters);
  check("initial weights depend on the seed alone", CheckInitialWeights);
  check("the forward pass gives logits and keeps its inputs", CheckForward);
  check("every parameter has a gradient", CheckGradients);
  check("evaluation repeats, changes nothing and takes each example alone",
        CheckEvaluation);
  check("training repeats with one seed", CheckTrainingRepeats);
  check("inputs of a wrong shape are refused", CheckWrongInputs);
}

void CheckOptimizer(Suite& suite) {
  suite.Check("it descends", [&] { return CheckDescent(suite); });
  suite.Check("a rate of zero changes nothing",
              [&] { return CheckZeroRate(suite); });
  suite.Check("Reset forgets everything", [&] { return CheckReset(suite); });
  suite.Check("a loaded state goes on with the same bits",
              [&] { return CheckOptimizerResume(suite); });
  suite.Check("the state is no larger than declared",
              [&] { return CheckStateBytes(suite); });
  suite.Check("gradients that do not fit are refused",
              [&] { return CheckWrongGradient(suite); });
}

void CheckLrSchedule(Suite& suite) {
  suite.Check(
      "factors are finite, not negative and repeat", [&]() -> absl::Status {
        FEDLB_ASSIGN_OR_RETURN(auto schedule, suite.Create<LrSchedule>());
        for (const int64_t rounds : {1, 2, 10, 1000}) {
          for (int64_t round = 0; round < rounds; ++round) {
            const double factor = schedule->Factor(round, rounds);
            FEDLB_RETURN_IF_ERROR(
                Expect(std::isfinite(factor) && factor >= 0 &&
                           factor == schedule->Factor(round, rounds),
                       absl::StrCat("round ", round, " of ", rounds,
                                    " has the factor ", factor)));
          }
        }
        return absl::OkStatus();
      });
}

}  // namespace fedlb::conformance
