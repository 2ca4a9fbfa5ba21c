// What every component promises, whatever its kind.

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "conformance/suite.h"
#include "fedlb/param_schema.h"

namespace fedlb::conformance {
namespace {

bool IsKey(absl::string_view text) {
  return !text.empty() && absl::ascii_islower(text.front()) &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_';
         });
}

bool IsSentence(absl::string_view text) {
  return !text.empty() && absl::EndsWith(text, ".") &&
         !absl::ascii_islower(text.front());
}

// The options of the suite with one of them replaced.
ConfigTable With(const Suite& suite, absl::string_view key, ConfigValue value) {
  ConfigTable table = suite.deviations().options;
  table.Set(key, std::move(value));
  return table;
}

absl::Status ExpectRefusal(const Suite& suite, absl::string_view key,
                           const ConfigValue& value) {
  const std::string text = absl::StrCat(key, " = ", value.ToString());
  const absl::Status status =
      suite.entry().resolve(With(suite, key, value)).status();
  FEDLB_RETURN_IF_ERROR(
      ExpectCode(status, absl::StatusCode::kInvalidArgument, text));
  FEDLB_RETURN_IF_ERROR(Expect(FailureOf(status) == Failure::kConfig,
                               absl::StrCat(text, " is not a config error")));
  return Expect(absl::StrContains(status.message(), key),
                absl::StrCat(text, ": the message does not name the key: ",
                             status.message()));
}

absl::Status CheckDescription(const Suite& suite) {
  const ComponentEntry& entry = suite.entry();
  FEDLB_RETURN_IF_ERROR(
      Expect(IsKey(entry.kind) && IsKey(entry.name),
             absl::StrCat("\"", entry.kind, "\" and \"", entry.name,
                          "\" must be lower-case words joined by _")));
  FEDLB_RETURN_IF_ERROR(
      Expect(IsSentence(entry.summary),
             absl::StrCat("the summary \"", entry.summary,
                          "\" must be a sentence that ends with a full stop")));
  std::set<std::string> names;
  for (const ParamInfo& param : entry.params) {
    FEDLB_RETURN_IF_ERROR(
        Expect(IsKey(param.name) && param.name != "name",
               absl::StrCat("\"", param.name, "\" cannot be a parameter")));
    FEDLB_RETURN_IF_ERROR(
        Expect(names.insert(param.name).second,
               absl::StrCat("parameter ", param.name, " is declared twice")));
    FEDLB_RETURN_IF_ERROR(
        Expect(IsSentence(param.description),
               absl::StrCat("the description of ", param.name,
                            " must be a sentence that ends with a full stop")));
  }
  return absl::OkStatus();
}

absl::Status CheckRoundTrip(const Suite& suite) {
  const ComponentEntry& entry = suite.entry();
  FEDLB_ASSIGN_OR_RETURN(const ConfigTable once,
                         entry.resolve(suite.deviations().options));
  FEDLB_ASSIGN_OR_RETURN(const ConfigTable twice, entry.resolve(once));
  FEDLB_RETURN_IF_ERROR(
      Expect(once == twice, "a printed table is read back differently"));
  for (const ParamInfo& param : entry.params) {
    FEDLB_RETURN_IF_ERROR(
        Expect(once.Find(param.name) != nullptr,
               absl::StrCat("the printed table lacks ", param.name)));
  }
  return absl::OkStatus();
}

absl::Status CheckWrongTypes(const Suite& suite) {
  for (const ParamInfo& param : suite.entry().params) {
    // A list of tables is the value of no parameter.
    const ConfigValue wrong(ConfigValue::Array{ConfigValue(ConfigTable())});
    FEDLB_RETURN_IF_ERROR(ExpectRefusal(suite, param.name, wrong));
  }
  return absl::OkStatus();
}

absl::Status CheckBounds(const Suite& suite) {
  for (const ParamInfo& param : suite.entry().params) {
    for (const ConfigValue& bad : param.constraint.bad) {
      FEDLB_RETURN_IF_ERROR(ExpectRefusal(suite, param.name, bad));
    }
    for (const ConfigValue& good : param.constraint.good) {
      const absl::Status status =
          suite.entry().resolve(With(suite, param.name, good)).status();
      // Another parameter may contradict the value, but its own bound may not.
      FEDLB_RETURN_IF_ERROR(Expect(
          status.ok() ||
              !absl::StrContains(status.message(),
                                 absl::StrCat("must be ", param.requirement)),
          absl::StrCat(param.name, " = ", good.ToString(),
                       " is refused: ", status.message())));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckForeignState(const Suite& suite) {
  if (!suite.deviations().cannot_create.empty()) {
    return Skipped(suite.deviations().cannot_create);
  }
  auto component = suite.CreateAny(suite.Context());
  if (!component.ok()) {
    return Skipped("it cannot be made");
  }
  ComponentState foreign;
  foreign.scalars["no_such_scalar"] = 1;
  foreign.tensors["no_such_group"] =
      RandomTensors({{"tensor", {3}, at::kFloat}}, 1);
  return ExpectCode((*component)->LoadState(foreign),
                    absl::StatusCode::kInvalidArgument,
                    "LoadState of another component's state");
}

absl::Status CheckFreshState(const Suite& suite) {
  if (!suite.deviations().cannot_create.empty()) {
    return Skipped(suite.deviations().cannot_create);
  }
  auto first = suite.CreateAny(suite.Context());
  auto second = suite.CreateAny(suite.Context());
  if (!first.ok() || !second.ok()) {
    return Skipped("it cannot be made");
  }
  const ComponentState state = (*first)->SaveState();
  FEDLB_RETURN_IF_ERROR(
      Annotate((*second)->LoadState(state), "LoadState of a fresh state"));
  const ComponentState again = (*second)->SaveState();
  FEDLB_RETURN_IF_ERROR(Expect(state.scalars == again.scalars &&
                                   state.tensors.size() == again.tensors.size(),
                               "the state that was loaded is saved otherwise"));
  for (const auto& [name, tensors] : state.tensors) {
    const auto found = again.tensors.find(name);
    FEDLB_RETURN_IF_ERROR(Expect(found != again.tensors.end(),
                                 absl::StrCat("the state loses ", name)));
    FEDLB_RETURN_IF_ERROR(ExpectSameBits(tensors, found->second, name));
  }
  return absl::OkStatus();
}

}  // namespace

void CheckComponent(Suite& suite) {
  suite.Check("name, summary and parameters are described",
              [&] { return CheckDescription(suite); });
  suite.Check("options are printed and read back the same",
              [&] { return CheckRoundTrip(suite); });
  suite.Check("an unknown key is refused", [&] {
    return ExpectRefusal(suite, "no_such_parameter", ConfigValue(int64_t{1}));
  });
  suite.Check("a value of the wrong type is refused",
              [&] { return CheckWrongTypes(suite); });
  suite.Check("bounds hold", [&] { return CheckBounds(suite); });
  suite.Check("a fresh state is saved and loaded",
              [&] { return CheckFreshState(suite); });
  suite.Check("a foreign state is refused",
              [&] { return CheckForeignState(suite); });
}

}  // namespace fedlb::conformance
