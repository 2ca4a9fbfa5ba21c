#include "conformance/suite.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>

#include <ATen/ops/empty.h>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/random.h"

namespace fedlb::conformance {
namespace {

constexpr char kSkippedPayload[] = "fedlb/skipped";
constexpr char kCanBeMade[] = "can be made";

using SuiteFunction = void (*)(Suite&);

const std::map<std::string, SuiteFunction>& SuitesByKind() {
  static const auto* const suites = new std::map<std::string, SuiteFunction>{
      {"aggregator", CheckAggregator},
      {"batch_policy", CheckBatchPolicy},
      {"client_algorithm", CheckClientAlgorithm},
      {"compressor", CheckCompressor},
      {"dataset", CheckDataset},
      {"gradient_mapper", CheckGradientMapper},
      {"lr_schedule", CheckLrSchedule},
      {"model", CheckModel},
      {"optimizer", CheckOptimizer},
      {"partitioner", CheckPartitioner},
      {"sampler", CheckSampler},
      {"sync_policy", CheckSyncPolicy},
      {"teacher", CheckTeacher},
      {"transport", CheckTransport}};
  return *suites;
}

std::string ShapeText(const at::Tensor& tensor) {
  return absl::StrCat("[", absl::StrJoin(tensor.sizes(), ", "), "] ",
                      at::toString(tensor.scalar_type()));
}

}  // namespace

void Suite::Check(absl::string_view name,
                  absl::FunctionRef<absl::Status()> body) {
  CheckResult result;
  result.check = std::string(name);
  result.status = CatchAsStatus("exception", body);
  result.skipped = IsSkipped(result.status);
  results_.push_back(std::move(result));
}

ComponentContext Suite::Context() const {
  ComponentContext context;
  context.num_clients = 10;
  context.num_rounds = 10;
  context.registry = &registry_;
  if (entry_.kind != "dataset") {
    context.example_shape = {1, 28, 28};
    context.num_classes = 10;
  }
  return context;
}

absl::StatusOr<std::unique_ptr<Component>> Suite::CreateAny(
    const ComponentContext& context) const {
  FEDLB_ASSIGN_OR_RETURN(std::unique_ptr<Component> component,
                         entry_.create(deviations_.options, context));
  if (component == nullptr) {
    return absl::InternalError("Create returned a null pointer");
  }
  return component;
}

absl::Status Skipped(absl::string_view why) {
  absl::Status status = absl::UnimplementedError(why);
  status.SetPayload(kSkippedPayload, absl::Cord());
  return status;
}

bool IsSkipped(const absl::Status& status) {
  return status.GetPayload(kSkippedPayload).has_value();
}

absl::Status Expect(bool holds, absl::string_view message) {
  return holds ? absl::OkStatus() : absl::InternalError(message);
}

absl::Status ExpectCode(const absl::Status& status, absl::StatusCode code,
                        absl::string_view call) {
  return Expect(status.code() == code,
                absl::StrCat(call, " returned ", status.ToString(), " where ",
                             absl::StatusCodeToString(code), " is promised"));
}

absl::Status ExpectSameBits(const TensorList& a, const TensorList& b,
                            absl::string_view what) {
  FEDLB_RETURN_IF_ERROR(
      Expect(a.size() == b.size(),
             absl::StrCat(what, ": ", a.size(), " tensors and ", b.size())));
  for (size_t i = 0; i < a.size(); ++i) {
    FEDLB_RETURN_IF_ERROR(
        Expect(a[i].sizes() == b[i].sizes() &&
                   a[i].scalar_type() == b[i].scalar_type(),
               absl::StrCat(what, ": tensor ", i, " is ", ShapeText(a[i]),
                            " and ", ShapeText(b[i]))));
    FEDLB_RETURN_IF_ERROR(
        Expect(Sha256Hex({a[i]}) == Sha256Hex({b[i]}),
               absl::StrCat(what, ": tensor ", i, " differs in its bits")));
  }
  return absl::OkStatus();
}

absl::Status ExpectClose(const TensorList& a, const TensorList& b,
                         double tolerance, absl::string_view what) {
  FEDLB_RETURN_IF_ERROR(
      Expect(a.size() == b.size(),
             absl::StrCat(what, ": ", a.size(), " tensors and ", b.size())));
  for (size_t i = 0; i < a.size(); ++i) {
    FEDLB_RETURN_IF_ERROR(
        Expect(a[i].sizes() == b[i].sizes(),
               absl::StrCat(what, ": tensor ", i, " is ", ShapeText(a[i]),
                            " and ", ShapeText(b[i]))));
    if (a[i].numel() == 0) {
      continue;
    }
    const at::Tensor left = a[i].detach().to(at::kDouble);
    const at::Tensor right = b[i].detach().to(at::kDouble);
    const double difference = left.sub(right).abs().max().item<double>();
    const double scale = std::max(left.abs().max().item<double>(),
                                  right.abs().max().item<double>());
    // Written so that NaN fails.
    FEDLB_RETURN_IF_ERROR(
        Expect(difference <= tolerance * std::max(scale, 1e-30),
               absl::StrCat(what, ": tensor ", i, " differs by ", difference,
                            " where its largest value is ", scale)));
  }
  return absl::OkStatus();
}

absl::Status ExpectFinite(const TensorList& tensors, absl::string_view what) {
  return Expect(std::isfinite(SquaredNorm(tensors)),
                absl::StrCat(what, " is not finite"));
}

TensorList RandomTensors(const TensorLayout& layout, uint64_t seed) {
  TensorList tensors;
  RandomStream random({.seed = seed, .purpose = "conformance"});
  for (const TensorSpec& spec : layout) {
    at::Tensor tensor = at::empty(spec.sizes, at::kDouble);
    auto* const values = tensor.mutable_data_ptr<double>();
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      values[i] = random.Normal();
    }
    tensors.push_back(tensor.to(spec.dtype));
  }
  return tensors;
}

TensorLayout MixedLayout(at::ScalarType dtype) {
  return {{"empty", {0}, dtype},
          {"one", {1}, dtype},
          {"ten", {2, 5}, dtype},
          {"thousand", {10, 10, 10}, dtype}};
}

std::vector<CheckResult> RunConformance(const ComponentEntry& entry,
                                        const ComponentRegistry& registry,
                                        const Deviations& deviations) {
  Suite suite(entry, registry, deviations);
  bool made = false;
  CheckComponent(suite);
  suite.Check(kCanBeMade, [&]() -> absl::Status {
    if (!deviations.cannot_create.empty()) {
      return Skipped(deviations.cannot_create);
    }
    absl::Status status = suite.CreateAny(suite.Context()).status();
    if (entry.kind == "model" && FailureOf(status) == Failure::kConfig) {
      // Its suite looks for a shape that the model takes.
      made = true;
      return Skipped(status.message());
    }
    made = status.ok();
    const bool needs_surroundings =
        absl::IsFailedPrecondition(status) ||
        FailureOf(status) == Failure::kInputFile ||
        // A data set may have a path without a default.
        (entry.kind == "dataset" && FailureOf(status) == Failure::kConfig);
    return needs_surroundings && deviations.options.empty()
               ? Skipped(status.message())
               : status;
  });
  const auto suite_of_kind = SuitesByKind().find(entry.kind);
  if (made && suite_of_kind != SuitesByKind().end()) {
    suite_of_kind->second(suite);
  }
  return std::move(suite.results());
}

bool AllPassed(const std::vector<CheckResult>& results) {
  return std::all_of(results.begin(), results.end(),
                     [](const CheckResult& result) {
                       return result.status.ok() || result.skipped;
                     });
}

}  // namespace fedlb::conformance
