#include "aggregation/update_set.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include <c10/core/ScalarType.h>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "fedlb/status.h"
#include "update_gate.h"

namespace fedlb {
namespace {

// Descriptors beside those of the updates.
constexpr rlim_t kOtherFiles = 64;

constexpr std::array<std::pair<const char*, UpdateFileKind>, 3> kKinds = {{
    {"delta", UpdateFileKind::kDelta},
    {"gradient", UpdateFileKind::kGradient},
    {"weights", UpdateFileKind::kWeights},
}};

// Lets this process have `count` files open.
absl::Status AllowOpenFiles(size_t count) {
  struct rlimit limit;
  const rlim_t needed = static_cast<rlim_t>(count) + kOtherFiles;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed) {
    return absl::OkStatus();
  }
  if (limit.rlim_max < needed) {
    return StorageError(absl::StrCat(
        count, " update files, and the system allows ", limit.rlim_max,
        " open files (ulimit -Hn); aggregate them in groups, or raise the "
        "limit"));
  }
  limit.rlim_cur = needed;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0
             ? absl::OkStatus()
             : StorageError(absl::StrCat("cannot have ", count,
                                         " files open: ", SystemError()));
}

const std::string* FindKey(const UpdateFile& file, const char* key) {
  const auto found = file.header().metadata.find(key);
  return found == file.header().metadata.end() ? nullptr : &found->second;
}

// The whole number under `key`, if there is one. kInputFile.
absl::StatusOr<std::optional<int64_t>> FindCount(const UpdateFile& file,
                                                 const char* key) {
  const std::string* text = FindKey(file, key);
  if (text == nullptr) {
    return std::nullopt;
  }
  int64_t count = 0;
  if (!absl::SimpleAtoi(*text, &count)) {
    return CannotRead(file.path(), absl::StrCat(key, " is ", Quoted(*text),
                                                ", not a whole number"));
  }
  return count;
}

// The element that occurs most; of equals the first. There is one at least.
template <typename T>
T MostCommon(const std::vector<T>& values) {
  std::map<T, size_t> counts;
  for (const T& value : values) {
    ++counts[value];
  }
  return *std::max_element(
      values.begin(), values.end(),
      [&counts](const T& a, const T& b) { return counts[a] < counts[b]; });
}

using EntriesByName =
    absl::flat_hash_map<absl::string_view, const SafetensorsEntry*>;

// What keeps the floating tensors of `header` from being added to the base's.
absl::Status CheckAgainst(const EntriesByName& base,
                          const SafetensorsHeader& header) {
  for (const SafetensorsEntry& entry : header.tensors) {
    if (!c10::isFloatingType(entry.dtype)) {
      continue;
    }
    const auto found = base.find(entry.name);
    if (found == base.end() || !c10::isFloatingType(found->second->dtype)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the base has no floating tensor ", Quoted(entry.name)));
    }
    if (found->second->shape != entry.shape) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quoted(entry.name), " is of shape [",
                       absl::StrJoin(entry.shape, ", "), "], the base's of [",
                       absl::StrJoin(found->second->shape, ", "), "]"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

const char* NameOf(UpdateFileKind kind) {
  return std::find_if(
             kKinds.begin(), kKinds.end(),
             [kind](const auto& entry) { return entry.second == kind; })
      ->first;
}

absl::StatusOr<UpdateFileKind> ParseUpdateFileKind(const std::string& name) {
  const auto* found =
      std::find_if(kKinds.begin(), kKinds.end(),
                   [&name](const auto& entry) { return entry.first == name; });
  if (found == kKinds.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the kind ", Quoted(name), " is none of delta, gradient, weights"));
  }
  return found->second;
}

absl::StatusOr<UpdateSet> UpdateSet::Open(const FileAggregationOptions& options,
                                          const SafetensorsHeader* base) {
  FEDLB_RETURN_IF_ERROR(AllowOpenFiles(options.updates.size()));
  UpdateSet set;
  for (const std::string& path : options.updates) {
    FileUpdate& update = set.updates_.emplace_back();
    update.path = path;
    update.facts.client = static_cast<int64_t>(set.updates_.size()) - 1;
    absl::StatusOr<UpdateFile> file = UpdateFile::Open(path);
    if (file.ok()) {
      update.file = std::make_unique<UpdateFile>(*std::move(file));
    } else {
      update.rejected = file.status();
    }
  }
  FEDLB_RETURN_IF_ERROR(set.AgreeOnKind(options.kind));
  set.AgreeOnLayout(base);
  set.AgreeOnExamples(options);
  return set;
}

absl::Status UpdateSet::AgreeOnKind(const std::string& given) {
  std::vector<UpdateFileKind> said;
  const FileUpdate* silent = nullptr;
  std::vector<std::optional<UpdateFileKind>> kinds(updates_.size());
  for (size_t k = 0; k < updates_.size(); ++k) {
    FileUpdate& update = updates_[k];
    if (!update.rejected.ok()) {
      continue;
    }
    const std::string* name = FindKey(*update.file, kUpdateKindKey);
    if (name == nullptr) {
      silent = silent == nullptr ? &update : silent;
      continue;
    }
    const absl::StatusOr<UpdateFileKind> kind = ParseUpdateFileKind(*name);
    if (kind.ok()) {
      kinds[k] = *kind;
      said.push_back(*kind);
    } else {
      update.rejected = CannotRead(
          update.path,
          absl::StrCat("it holds no update: ", kind.status().message()));
    }
  }
  if (!given.empty()) {
    FEDLB_ASSIGN_OR_RETURN(kind_, ParseUpdateFileKind(given));
  } else if (!said.empty()) {
    kind_ = MostCommon(said);
  } else if (silent != nullptr) {
    return UsageError(absl::StrCat(
        silent->path, " does not say what it holds (metadata ", kUpdateKindKey,
        "); give --kind delta, gradient or weights"));
  }
  for (size_t k = 0; k < updates_.size(); ++k) {
    if (kinds[k].has_value() && *kinds[k] != kind_) {
      updates_[k].rejected = CannotRead(
          updates_[k].path,
          absl::StrCat("it holds a ", NameOf(*kinds[k]), ", not a ",
                       NameOf(kind_),
                       given.empty() ? " like most others" : " as was said"));
    }
    if (updates_[k].rejected.ok() && !kinds[k].has_value() && given.empty()) {
      updates_[k].rejected = CannotRead(
          updates_[k].path, absl::StrCat("it does not say ", kUpdateKindKey,
                                         ", and others do; give --kind"));
    }
    updates_[k].facts.kind = kind_ == UpdateFileKind::kGradient
                                 ? Update::Kind::kGradient
                                 : Update::Kind::kDelta;
  }
  return absl::OkStatus();
}

void UpdateSet::AgreeOnLayout(const SafetensorsHeader* base) {
  EntriesByName base_entries;
  if (base != nullptr) {
    for (const SafetensorsEntry& entry : base->tensors) {
      base_entries[entry.name] = &entry;
    }
  }
  std::vector<std::string> signatures;
  std::map<std::string, ColumnLayout> layouts;
  for (const size_t k : Accepted()) {
    FileUpdate& update = updates_[k];
    const SafetensorsHeader& header = update.file->header();
    ColumnLayout layout(header);
    const absl::Status fits =
        layout.width() == 0
            ? absl::InvalidArgumentError("it holds no floating numbers")
        : base == nullptr ? absl::OkStatus()
                          : CheckAgainst(base_entries, header);
    if (!fits.ok()) {
      update.rejected = CannotRead(update.path, fits.message());
      continue;
    }
    signatures.push_back(SignatureOf(header));
    layouts.try_emplace(signatures.back(), std::move(layout));
  }
  const std::string common = signatures.empty() ? "" : MostCommon(signatures);
  layout_ = std::make_unique<ColumnLayout>(std::move(layouts[common]));
  if (base != nullptr) {
    *layout_ = layout_->InOrderOf(*base);
  }
  for (const size_t k : Accepted()) {
    FileUpdate& update = updates_[k];
    const SafetensorsHeader& header = update.file->header();
    update.rejected = update.file->Bind(*layout_);
    if (update.rejected.ok() && SignatureOf(header) != common) {
      update.rejected = CannotRead(
          update.path, "its tensors of integers differ from most files'");
    }
    for (const SafetensorsEntry& entry : header.tensors) {
      has_doubles_ =
          has_doubles_ || (update.rejected.ok() && entry.dtype == at::kDouble);
    }
  }
}

void UpdateSet::AgreeOnExamples(const FileAggregationOptions& options) {
  bool some_say = false;
  std::vector<bool> silent(updates_.size());
  for (const size_t k : Accepted()) {
    FileUpdate& update = updates_[k];
    const auto steps = FindCount(*update.file, kUpdateStepsKey);
    const auto examples = FindCount(*update.file, kUpdateExamplesKey);
    if (!steps.ok() || !examples.ok()) {
      update.rejected = steps.ok() ? examples.status() : steps.status();
      continue;
    }
    update.facts.local_steps = steps->value_or(0);
    const absl::Status steps_claim = CheckLocalSteps(update.facts.local_steps);
    if (!steps_claim.ok()) {
      update.rejected =
          CannotRead(update.path, absl::StrCat("it ", steps_claim.message()));
      continue;
    }
    if (!options.num_examples.empty()) {
      update.facts.num_examples = options.num_examples[k];
    } else {
      update.facts.num_examples = examples->value_or(1);
      silent[k] = !examples->has_value();
      some_say = some_say || examples->has_value();
    }
    const absl::Status claim =
        CheckExamples(options.gate, update.facts.num_examples);
    if (!claim.ok()) {
      update.rejected =
          CannotRead(update.path, absl::StrCat("it ", claim.message()));
    }
  }
  for (const size_t k : Accepted()) {
    if (some_say && silent[k]) {
      updates_[k].rejected = CannotRead(
          updates_[k].path, absl::StrCat("it does not say ", kUpdateExamplesKey,
                                         ", and others do; give --weights"));
    }
  }
}

std::vector<size_t> UpdateSet::Accepted() const {
  std::vector<size_t> accepted;
  for (size_t k = 0; k < updates_.size(); ++k) {
    if (updates_[k].rejected.ok()) {
      accepted.push_back(k);
    }
  }
  return accepted;
}

std::vector<UpdateFile*> UpdateSet::Files(
    const std::vector<size_t>& positions) const {
  std::vector<UpdateFile*> files;
  for (const size_t k : positions) {
    files.push_back(updates_[k].file.get());
  }
  return files;
}

std::vector<UpdateFacts> UpdateSet::Facts(
    const std::vector<size_t>& positions) const {
  std::vector<UpdateFacts> facts;
  for (const size_t k : positions) {
    facts.push_back(updates_[k].facts);
  }
  return facts;
}

}  // namespace fedlb
