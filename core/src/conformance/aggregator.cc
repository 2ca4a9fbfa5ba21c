#include "fedlb/aggregator.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "conformance/suite.h"

namespace fedlb::conformance {
namespace {

constexpr int64_t kCohorts[] = {1, 2, 3, 7, 32};

Update MakeUpdate(TensorList parameters, int64_t client, int64_t examples) {
  Update update;
  update.client = client;
  update.num_examples = examples;
  update.local_steps = 1;
  update.groups[kParametersGroup] = std::move(parameters);
  return update;
}

// Updates of different clients with different numbers of examples.
std::vector<Update> MakeCohort(const TensorLayout& layout, int64_t size,
                               uint64_t seed = 1) {
  std::vector<Update> cohort;
  for (int64_t client = 0; client < size; ++client) {
    cohort.push_back(MakeUpdate(RandomTensors(layout, seed + client), client,
                                10 + 7 * (client % 5)));
  }
  return cohort;
}

absl::StatusOr<TensorList> RunRound(Aggregator& rule,
                                    const TensorLayout& layout,
                                    const std::vector<Update>& cohort) {
  FEDLB_RETURN_IF_ERROR(Annotate(rule.Begin(layout), "Begin"));
  for (const Update& update : cohort) {
    FEDLB_RETURN_IF_ERROR(Annotate(
        rule.Add(update), absl::StrCat("Add of client ", update.client)));
  }
  auto result = rule.Finish();
  if (!result.ok()) {
    return Annotate(result.status(),
                    absl::StrCat("Finish after ", cohort.size(), " updates"));
  }
  return result;
}

// Runs `body` with a fresh rule for every cohort size and type that it has to
// work with.
absl::Status ForEachCase(
    const Suite& suite,
    absl::FunctionRef<absl::Status(Aggregator&, const TensorLayout&, int64_t)>
        body) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    for (const int64_t size : kCohorts) {
      if (size < suite.deviations().min_clients) {
        continue;
      }
      ComponentContext context = suite.Context();
      context.dtype = dtype;
      context.num_clients = size;
      FEDLB_ASSIGN_OR_RETURN(auto rule, suite.Create<Aggregator>(context));
      FEDLB_RETURN_IF_ERROR(
          Annotate(body(*rule, MixedLayout(dtype), size),
                   absl::StrCat(size, " clients, ", at::toString(dtype))));
    }
  }
  return absl::OkStatus();
}

int64_t EnoughClients(const Suite& suite) {
  return std::max<int64_t>(7, suite.deviations().min_clients);
}

absl::Status CheckFixedPoint(const Suite& suite) {
  if (!suite.deviations().fixed_point) {
    return Skipped("the rule has no fixed point");
  }
  return ForEachCase(suite,
                     [&](Aggregator& rule, const TensorLayout& layout,
                         int64_t size) -> absl::Status {
                       std::vector<Update> cohort = MakeCohort(layout, size);
                       const TensorList common = RandomTensors(layout, 99);
                       for (Update& update : cohort) {
                         update.parameters() = Clone(common);
                       }
                       FEDLB_ASSIGN_OR_RETURN(const TensorList result,
                                              RunRound(rule, layout, cohort));
                       return ExpectClose(result, common,
                                          suite.deviations().tolerance,
                                          "result");
                     });
}

absl::Status CheckOrder(const Suite& suite) {
  if (!suite.deviations().order_free) {
    return Skipped("the rule depends on the order");
  }
  return ForEachCase(
      suite,
      [&](Aggregator& rule, const TensorLayout& layout,
          int64_t size) -> absl::Status {
        std::vector<Update> cohort = MakeCohort(layout, size);
        FEDLB_ASSIGN_OR_RETURN(const TensorList forward,
                               RunRound(rule, layout, cohort));
        std::reverse(cohort.begin(), cohort.end());
        // A rule that learns from round to round would see its second round.
        FEDLB_ASSIGN_OR_RETURN(auto fresh, suite.Create<Aggregator>());
        FEDLB_ASSIGN_OR_RETURN(const TensorList backward,
                               RunRound(*fresh, layout, cohort));
        return ExpectClose(forward, backward, suite.deviations().tolerance,
                           "result of the reversed cohort");
      });
}

absl::Status CheckInputs(const Suite& suite) {
  return ForEachCase(
      suite,
      [&](Aggregator& rule, const TensorLayout& layout,
          int64_t size) -> absl::Status {
        const std::vector<Update> cohort = MakeCohort(layout, size);
        FEDLB_ASSIGN_OR_RETURN(const TensorList result,
                               RunRound(rule, layout, cohort));
        const std::vector<Update> original = MakeCohort(layout, size);
        for (size_t k = 0; k < cohort.size(); ++k) {
          FEDLB_RETURN_IF_ERROR(ExpectSameBits(cohort[k].parameters(),
                                               original[k].parameters(),
                                               absl::StrCat("update ", k)));
          for (size_t i = 0; i < result.size(); ++i) {
            FEDLB_RETURN_IF_ERROR(
                Expect(result[i].numel() == 0 ||
                           !result[i].is_alias_of(cohort[k].parameters()[i]),
                       absl::StrCat("tensor ", i, " of the result is update ",
                                    k, "'s own")));
          }
        }
        return absl::OkStatus();
      });
}

absl::Status CheckLayoutKept(const Suite& suite) {
  return ForEachCase(
      suite,
      [&](Aggregator& rule, const TensorLayout& layout,
          int64_t size) -> absl::Status {
        FEDLB_ASSIGN_OR_RETURN(
            const TensorList result,
            RunRound(rule, layout, MakeCohort(layout, size)));
        FEDLB_RETURN_IF_ERROR(Annotate(CheckLayout(layout, result), "result"));
        return ExpectFinite(result, "the result");
      });
}

absl::Status CheckRepeats(const Suite& suite) {
  const TensorLayout layout = MixedLayout(at::kFloat);
  const auto cohort = MakeCohort(layout, EnoughClients(suite));
  FEDLB_ASSIGN_OR_RETURN(auto first, suite.Create<Aggregator>());
  FEDLB_ASSIGN_OR_RETURN(auto second, suite.Create<Aggregator>());
  FEDLB_ASSIGN_OR_RETURN(const TensorList a, RunRound(*first, layout, cohort));
  FEDLB_ASSIGN_OR_RETURN(const TensorList b, RunRound(*second, layout, cohort));
  return ExpectSameBits(a, b, "results of two instances");
}

absl::Status CheckSecondRound(const Suite& suite) {
  const TensorLayout layout = MixedLayout(at::kFloat);
  const int64_t size = EnoughClients(suite);
  FEDLB_ASSIGN_OR_RETURN(auto rule, suite.Create<Aggregator>());
  FEDLB_ASSIGN_OR_RETURN(const TensorList first,
                         RunRound(*rule, layout, MakeCohort(layout, size)));
  const TensorList kept = Clone(first);
  FEDLB_RETURN_IF_ERROR(
      RunRound(*rule, layout, MakeCohort(layout, size, 1000)).status());
  FEDLB_RETURN_IF_ERROR(
      ExpectSameBits(first, kept, "a result after the next round"));
  FEDLB_RETURN_IF_ERROR(rule->Begin(layout));
  return Expect(rule->num_added() == 0, "Begin does not forget the round");
}

absl::Status CheckAbandonedRound(const Suite& suite) {
  const TensorLayout layout = MixedLayout(at::kFloat);
  const auto cohort = MakeCohort(layout, EnoughClients(suite));
  FEDLB_ASSIGN_OR_RETURN(auto used, suite.Create<Aggregator>());
  FEDLB_RETURN_IF_ERROR(used->Begin(layout));
  FEDLB_RETURN_IF_ERROR(
      used->Add(MakeUpdate(RandomTensors(layout, 5), 0, 1000)));
  FEDLB_ASSIGN_OR_RETURN(const TensorList a, RunRound(*used, layout, cohort));
  FEDLB_ASSIGN_OR_RETURN(auto fresh, suite.Create<Aggregator>());
  FEDLB_ASSIGN_OR_RETURN(const TensorList b, RunRound(*fresh, layout, cohort));
  return ExpectSameBits(a, b, "result after a round that was given up");
}

absl::Status CheckBadUpdates(const Suite& suite) {
  const TensorLayout layout = MixedLayout(at::kFloat);
  const auto cohort = MakeCohort(layout, EnoughClients(suite));
  FEDLB_ASSIGN_OR_RETURN(auto rule, suite.Create<Aggregator>());
  FEDLB_RETURN_IF_ERROR(rule->Begin(layout));
  const auto refuses = [&rule](const Update& update, absl::string_view what) {
    return ExpectCode(rule->Add(update), absl::StatusCode::kInvalidArgument,
                      absl::StrCat("Add of an update with ", what));
  };
  const TensorList good = RandomTensors(layout, 1);
  TensorList wrong_shape = good;
  wrong_shape.back() = wrong_shape.back().reshape({100, 10});
  TensorList wrong_type = good;
  wrong_type.back() = wrong_type.back().to(at::kDouble);
  Update no_parameters = MakeUpdate(good, 0, 1);
  no_parameters.groups.clear();
  FEDLB_RETURN_IF_ERROR(refuses(MakeUpdate(good, 0, 0), "0 examples"));
  FEDLB_RETURN_IF_ERROR(refuses(MakeUpdate(good, 0, -1), "-1 examples"));
  FEDLB_RETURN_IF_ERROR(
      refuses(MakeUpdate(wrong_shape, 0, 1), "a wrong shape"));
  FEDLB_RETURN_IF_ERROR(refuses(MakeUpdate(wrong_type, 0, 1), "a wrong type"));
  FEDLB_RETURN_IF_ERROR(
      refuses(MakeUpdate(TensorList(good.begin(), good.end() - 1), 0, 1),
              "a missing tensor"));
  FEDLB_RETURN_IF_ERROR(refuses(no_parameters, "no parameters"));

  for (const Update& update : cohort) {
    FEDLB_RETURN_IF_ERROR(rule->Add(update));
  }
  FEDLB_ASSIGN_OR_RETURN(const TensorList with_refusals, rule->Finish());
  FEDLB_ASSIGN_OR_RETURN(auto fresh, suite.Create<Aggregator>());
  FEDLB_ASSIGN_OR_RETURN(const TensorList without,
                         RunRound(*fresh, layout, cohort));
  return ExpectSameBits(with_refusals, without,
                        "result after updates that were refused");
}

absl::Status CheckCallOrder(const Suite& suite) {
  const TensorLayout layout = MixedLayout(at::kFloat);
  FEDLB_ASSIGN_OR_RETURN(auto rule, suite.Create<Aggregator>());
  const Update update = MakeUpdate(RandomTensors(layout, 1), 0, 1);
  constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;
  FEDLB_RETURN_IF_ERROR(
      ExpectCode(rule->Add(update), kPrecondition, "Add before Begin"));
  FEDLB_RETURN_IF_ERROR(ExpectCode(rule->Finish().status(), kPrecondition,
                                   "Finish before Begin"));
  FEDLB_RETURN_IF_ERROR(rule->Begin(layout));
  FEDLB_RETURN_IF_ERROR(ExpectCode(rule->Finish().status(), kPrecondition,
                                   "Finish without an update"));
  if (suite.deviations().min_clients > 1) {
    FEDLB_RETURN_IF_ERROR(rule->Begin(layout));
    FEDLB_RETURN_IF_ERROR(rule->Add(update));
    FEDLB_RETURN_IF_ERROR(ExpectCode(rule->Finish().status(), kPrecondition,
                                     "Finish with too few updates"));
  }
  return absl::OkStatus();
}

// The state after updates [begin, end) of the cohort.
absl::StatusOr<std::optional<TensorList>> StateAfter(
    const Suite& suite, const TensorLayout& layout,
    const std::vector<Update>& cohort, size_t begin, size_t end) {
  FEDLB_ASSIGN_OR_RETURN(auto rule, suite.Create<Aggregator>());
  FEDLB_RETURN_IF_ERROR(rule->Begin(layout));
  for (size_t k = begin; k < end; ++k) {
    FEDLB_RETURN_IF_ERROR(rule->Add(cohort[k]));
  }
  std::optional<TensorList> state = rule->LinearState();
  if (state.has_value()) {
    state = Clone(*state);
  }
  return state;
}

absl::Status CheckLinearState(const Suite& suite) {
  const TensorLayout layout = MixedLayout(at::kFloat);
  const auto cohort = MakeCohort(layout, 7);
  FEDLB_ASSIGN_OR_RETURN(const auto all,
                         StateAfter(suite, layout, cohort, 0, 7));
  if (!all.has_value()) {
    return Skipped("the rule must see every update in one place");
  }
  FEDLB_ASSIGN_OR_RETURN(const auto left,
                         StateAfter(suite, layout, cohort, 0, 3));
  FEDLB_ASSIGN_OR_RETURN(const auto right,
                         StateAfter(suite, layout, cohort, 3, 7));
  FEDLB_RETURN_IF_ERROR(
      Expect(left.has_value() && right.has_value() &&
                 left->size() == all->size() && right->size() == all->size(),
             "the state's size depends on the number of updates"));
  TensorList sum = *left;
  AddScaled(*right, 1, sum);
  return ExpectClose(sum, *all, suite.deviations().tolerance,
                     "sum of the states of two processes");
}

absl::Status CheckResume(const Suite& suite) {
  const TensorLayout layout = MixedLayout(at::kFloat);
  const int64_t size = EnoughClients(suite);
  FEDLB_ASSIGN_OR_RETURN(auto steady, suite.Create<Aggregator>());
  FEDLB_ASSIGN_OR_RETURN(auto resumed, suite.Create<Aggregator>());
  FEDLB_RETURN_IF_ERROR(
      RunRound(*steady, layout, MakeCohort(layout, size)).status());
  FEDLB_RETURN_IF_ERROR(resumed->LoadState(steady->SaveState()));
  const auto next = MakeCohort(layout, size, 1000);
  FEDLB_ASSIGN_OR_RETURN(const TensorList a, RunRound(*steady, layout, next));
  FEDLB_ASSIGN_OR_RETURN(const TensorList b, RunRound(*resumed, layout, next));
  return ExpectSameBits(a, b, "result after loading the state");
}

}  // namespace

void CheckAggregator(Suite& suite) {
  suite.Check("identical updates are a fixed point",
              [&] { return CheckFixedPoint(suite); });
  suite.Check("the order of the clients changes nothing",
              [&] { return CheckOrder(suite); });
  suite.Check("updates stay as they were and are not in the result",
              [&] { return CheckInputs(suite); });
  suite.Check("shapes and types are kept",
              [&] { return CheckLayoutKept(suite); });
  suite.Check("two instances give the same bits",
              [&] { return CheckRepeats(suite); });
  suite.Check("a result outlives the next round",
              [&] { return CheckSecondRound(suite); });
  suite.Check("a round that was given up leaves nothing behind",
              [&] { return CheckAbandonedRound(suite); });
  suite.Check("bad updates are refused without a trace",
              [&] { return CheckBadUpdates(suite); });
  suite.Check("calls out of order are refused",
              [&] { return CheckCallOrder(suite); });
  suite.Check("linear states add up", [&] { return CheckLinearState(suite); });
  suite.Check("a loaded state goes on with the same bits",
              [&] { return CheckResume(suite); });
}

}  // namespace fedlb::conformance
