#include "fedlb/round_task.h"

#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "fedlb/safetensors.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

// Everything that is not a tensor is metadata of the file, one key per value,
// so that any reader of the format can show it.
constexpr char kFormatKey[] = "fedlb.format";
constexpr char kFormat[] = "1";
constexpr char kKindKey[] = "fedlb.kind";
constexpr char kRoundKey[] = "fedlb.round";
constexpr char kClientKey[] = "fedlb.client";
constexpr char kNumExamplesKey[] = "fedlb.num_examples";
constexpr char kNumSamplesKey[] = "fedlb.num_samples";
constexpr char kWorkKey[] = "fedlb.work";
constexpr char kLocalStepsKey[] = "fedlb.local_steps";
constexpr char kLocalEpochsKey[] = "fedlb.local_epochs";
constexpr char kBaseRoundKey[] = "fedlb.base_round";
constexpr char kReorderKey[] = "fedlb.reorder";
constexpr char kLrKey[] = "fedlb.lr";
// The name of a scalar follows, and of a group, whose value is the number of
// its tensors: a group may be empty.
constexpr char kScalarPrefix[] = "fedlb.scalar.";
constexpr char kGroupPrefix[] = "fedlb.group.";

constexpr char kTaskKind[] = "task";
constexpr char kGradientKind[] = "gradient";
constexpr char kDeltaKind[] = "delta";
constexpr char kGradientWork[] = "gradient";
constexpr char kLocalStepsWork[] = "local_steps";
constexpr char kDisplacementWork[] = "displacement";

constexpr char kWeightsGroup[] = "weights";
constexpr char kAuxPrefix[] = "aux.";

using Metadata = std::map<std::string, std::string>;

// The shortest decimal that is read back as the same double.
std::string DecimalOf(double value) {
  std::array<char, 32> text;
  const auto result =
      std::to_chars(text.data(), text.data() + text.size(), value);
  return std::string(text.data(), result.ptr);
}

template <typename T>
absl::StatusOr<T> NumberOf(absl::string_view key, absl::string_view text) {
  T value = 0;
  const char* const end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) {
    return absl::DataLossError(absl::StrCat(absl::CHexEscape(key),
                                            " is not a number: '",
                                            absl::CHexEscape(text), "'"));
  }
  return value;
}

absl::StatusOr<std::string> GetText(const Metadata& metadata, const char* key) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) {
    return absl::DataLossError(absl::StrCat("the metadata lacks ", key));
  }
  return found->second;
}

template <typename T>
absl::StatusOr<T> GetNumber(const Metadata& metadata, const char* key) {
  FEDLB_ASSIGN_OR_RETURN(const std::string text, GetText(metadata, key));
  return NumberOf<T>(key, text);
}

void AddGroup(const std::string& name, const TensorList& tensors,
              SafetensorsFile& file) {
  file.metadata[absl::StrCat(kGroupPrefix, name)] =
      absl::StrCat(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    file.tensors.emplace_back(absl::StrCat(name, "/", i), tensors[i]);
  }
}

void AddScalars(const ScalarMap& scalars, SafetensorsFile& file) {
  for (const auto& [name, value] : scalars) {
    file.metadata[absl::StrCat(kScalarPrefix, name)] = DecimalOf(value);
  }
}

absl::StatusOr<ScalarMap> TakeScalars(const Metadata& metadata) {
  ScalarMap scalars;
  for (auto it = metadata.lower_bound(kScalarPrefix);
       it != metadata.end() && absl::StartsWith(it->first, kScalarPrefix);
       ++it) {
    FEDLB_ASSIGN_OR_RETURN(const double value,
                           NumberOf<double>(it->first, it->second));
    scalars[std::string(absl::StripPrefix(it->first, kScalarPrefix))] = value;
  }
  return scalars;
}

// The groups that the metadata declares, each with its places still empty.
absl::StatusOr<TensorGroups> DeclaredGroups(const SafetensorsFile& file) {
  TensorGroups groups;
  size_t declared = 0;
  for (auto it = file.metadata.lower_bound(kGroupPrefix);
       it != file.metadata.end() && absl::StartsWith(it->first, kGroupPrefix);
       ++it) {
    FEDLB_ASSIGN_OR_RETURN(const auto size,
                           NumberOf<uint64_t>(it->first, it->second));
    // Before the memory for `size` tensors is taken.
    if (size > file.tensors.size() - declared) {
      return absl::DataLossError(
          "the groups declare more tensors than "
          "there are");
    }
    declared += size;
    groups[std::string(absl::StripPrefix(it->first, kGroupPrefix))].resize(
        size);
  }
  if (declared != file.tensors.size()) {
    return absl::DataLossError(absl::StrCat("the groups declare ", declared,
                                            " tensors, there are ",
                                            file.tensors.size()));
  }
  return groups;
}

// Every tensor has a place of its own and there are as many tensors as places,
// so none is left empty.
absl::StatusOr<TensorGroups> TakeGroups(SafetensorsFile& file) {
  FEDLB_ASSIGN_OR_RETURN(TensorGroups groups, DeclaredGroups(file));
  for (auto& [name, tensor] : file.tensors) {
    const auto failure = [&name = name](absl::string_view what) {
      return absl::DataLossError(
          absl::StrCat("tensor '", absl::CHexEscape(name), "' ", what));
    };
    const size_t slash = name.rfind('/');
    if (slash == std::string::npos) {
      return failure("is not named <group>/<index>");
    }
    const auto group = groups.find(name.substr(0, slash));
    if (group == groups.end()) {
      return failure("is in a group that is not declared");
    }
    const absl::string_view digits = absl::string_view(name).substr(slash + 1);
    FEDLB_ASSIGN_OR_RETURN(const auto index, NumberOf<uint64_t>(name, digits));
    if (index >= group->second.size() || absl::StrCat(index) != digits) {
      return failure("has an index that its group does not have");
    }
    group->second[index] = std::move(tensor);
  }
  return groups;
}

absl::StatusOr<std::string> CheckedKind(const Metadata& metadata) {
  FEDLB_ASSIGN_OR_RETURN(const std::string format,
                         GetText(metadata, kFormatKey));
  if (format != kFormat) {
    return absl::DataLossError(
        absl::StrCat(kFormatKey, " is '", absl::CHexEscape(format),
                     "', this version reads '", kFormat, "'"));
  }
  return GetText(metadata, kKindKey);
}

absl::Status UnknownValue(const char* key, absl::string_view value) {
  return absl::DataLossError(absl::StrCat(key, " has the unexpected value '",
                                          absl::CHexEscape(value), "'"));
}

const char* NameOfWork(RoundWork::Kind kind) {
  switch (kind) {
    case RoundWork::Kind::kGradient:
      return kGradientWork;
    case RoundWork::Kind::kLocalSteps:
      return kLocalStepsWork;
    case RoundWork::Kind::kDisplacement:
      break;
  }
  return kDisplacementWork;
}

std::optional<RoundWork::Kind> WorkKindOf(absl::string_view name) {
  for (const RoundWork::Kind kind :
       {RoundWork::Kind::kGradient, RoundWork::Kind::kLocalSteps,
        RoundWork::Kind::kDisplacement}) {
    if (name == NameOfWork(kind)) {
      return kind;
    }
  }
  return std::nullopt;
}

absl::StatusOr<RoundTask> ToTask(SafetensorsFile file) {
  const Metadata& metadata = file.metadata;
  FEDLB_ASSIGN_OR_RETURN(const std::string kind, CheckedKind(metadata));
  if (kind != kTaskKind) {
    return UnknownValue(kKindKey, kind);
  }
  RoundTask task;
  FEDLB_ASSIGN_OR_RETURN(task.round, GetNumber<int64_t>(metadata, kRoundKey));
  FEDLB_ASSIGN_OR_RETURN(const std::string work, GetText(metadata, kWorkKey));
  const std::optional<RoundWork::Kind> work_kind = WorkKindOf(work);
  if (!work_kind.has_value()) {
    return UnknownValue(kWorkKey, work);
  }
  task.work.kind = *work_kind;
  FEDLB_ASSIGN_OR_RETURN(task.work.local_steps,
                         GetNumber<int64_t>(metadata, kLocalStepsKey));
  FEDLB_ASSIGN_OR_RETURN(task.work.local_epochs,
                         GetNumber<double>(metadata, kLocalEpochsKey));
  FEDLB_ASSIGN_OR_RETURN(task.work.base_round,
                         GetNumber<int64_t>(metadata, kBaseRoundKey));
  FEDLB_ASSIGN_OR_RETURN(const auto reorder,
                         GetNumber<int64_t>(metadata, kReorderKey));
  task.work.reorder = reorder != 0;
  FEDLB_ASSIGN_OR_RETURN(task.lr, GetNumber<double>(metadata, kLrKey));
  FEDLB_ASSIGN_OR_RETURN(task.scalars, TakeScalars(metadata));

  FEDLB_ASSIGN_OR_RETURN(TensorGroups groups, TakeGroups(file));
  bool has_weights = false;
  bool has_buffers = false;
  for (auto& [name, tensors] : groups) {
    absl::string_view aux = name;
    if (name == kWeightsGroup) {
      has_weights = true;
      task.weights = std::move(tensors);
    } else if (name == kBuffersGroup) {
      has_buffers = true;
      task.buffers = std::move(tensors);
    } else if (absl::ConsumePrefix(&aux, kAuxPrefix)) {
      task.aux[std::string(aux)] = std::move(tensors);
    } else {
      return absl::DataLossError(
          absl::StrCat("a task has no group '", absl::CHexEscape(name), "'"));
    }
  }
  if (!has_weights || !has_buffers) {
    return absl::DataLossError("the task lacks its weights or buffers");
  }
  return task;
}

absl::StatusOr<Update> ToUpdate(SafetensorsFile file) {
  const Metadata& metadata = file.metadata;
  FEDLB_ASSIGN_OR_RETURN(const std::string kind, CheckedKind(metadata));
  if (kind != kGradientKind && kind != kDeltaKind) {
    return UnknownValue(kKindKey, kind);
  }
  Update update;
  update.kind =
      kind == kGradientKind ? Update::Kind::kGradient : Update::Kind::kDelta;
  FEDLB_ASSIGN_OR_RETURN(update.round, GetNumber<int64_t>(metadata, kRoundKey));
  FEDLB_ASSIGN_OR_RETURN(update.client,
                         GetNumber<int64_t>(metadata, kClientKey));
  FEDLB_ASSIGN_OR_RETURN(update.num_examples,
                         GetNumber<int64_t>(metadata, kNumExamplesKey));
  FEDLB_ASSIGN_OR_RETURN(update.num_samples,
                         GetNumber<int64_t>(metadata, kNumSamplesKey));
  FEDLB_ASSIGN_OR_RETURN(update.local_steps,
                         GetNumber<int64_t>(metadata, kLocalStepsKey));
  FEDLB_ASSIGN_OR_RETURN(update.scalars, TakeScalars(metadata));
  FEDLB_ASSIGN_OR_RETURN(update.groups, TakeGroups(file));
  return update;
}

}  // namespace

// The digest is one that keeps up with memory: with `wire = true` every update
// of every round comes through here.
absl::StatusOr<std::string> EncodeTask(const RoundTask& task) {
  SafetensorsFile file;
  file.metadata = {
      {kFormatKey, kFormat},
      {kKindKey, kTaskKind},
      {kRoundKey, absl::StrCat(task.round)},
      {kWorkKey, NameOfWork(task.work.kind)},
      {kLocalStepsKey, absl::StrCat(task.work.local_steps)},
      {kLocalEpochsKey, DecimalOf(task.work.local_epochs)},
      {kBaseRoundKey, absl::StrCat(task.work.base_round)},
      {kReorderKey, task.work.reorder ? "1" : "0"},
      {kLrKey, DecimalOf(task.lr)},
  };
  AddScalars(task.scalars, file);
  AddGroup(kWeightsGroup, task.weights, file);
  AddGroup(kBuffersGroup, task.buffers, file);
  for (const auto& [name, tensors] : task.aux) {
    AddGroup(absl::StrCat(kAuxPrefix, name), tensors, file);
  }
  return SerializeSafetensors(file, SafetensorsDigest::kXxh3);
}

absl::StatusOr<RoundTask> DecodeTask(absl::string_view bytes) {
  FEDLB_ASSIGN_OR_RETURN(SafetensorsFile file, ParseSafetensors(bytes));
  return ToTask(std::move(file));
}

absl::StatusOr<std::string> EncodeUpdate(const Update& update) {
  SafetensorsFile file;
  file.metadata = {
      {kFormatKey, kFormat},
      {kKindKey,
       update.kind == Update::Kind::kGradient ? kGradientKind : kDeltaKind},
      {kRoundKey, absl::StrCat(update.round)},
      {kClientKey, absl::StrCat(update.client)},
      {kNumExamplesKey, absl::StrCat(update.num_examples)},
      {kNumSamplesKey, absl::StrCat(update.num_samples)},
      {kLocalStepsKey, absl::StrCat(update.local_steps)},
  };
  AddScalars(update.scalars, file);
  for (const auto& [name, tensors] : update.groups) {
    AddGroup(name, tensors, file);
  }
  return SerializeSafetensors(file, SafetensorsDigest::kXxh3);
}

absl::StatusOr<Update> DecodeUpdate(absl::string_view bytes) {
  FEDLB_ASSIGN_OR_RETURN(SafetensorsFile file, ParseSafetensors(bytes));
  return ToUpdate(std::move(file));
}

}  // namespace fedlb
