#include "pair_file.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <system_error>
#include <type_traits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "fedlb/safetensors.h"
#include "fedlb/status.h"

namespace fedlb::teacher {
namespace {

constexpr char kKindKey[] = "fedlb.kind";
constexpr char kKind[] = "displacement_pair";
constexpr char kFormatKey[] = "fedlb.format";
constexpr char kFormat[] = "1";
constexpr char kTargetKey[] = "fedlb.target";
constexpr char kFilePrefix[] = "pair_";
constexpr char kFileSuffix[] = ".safetensors";

std::string NumberKey(absl::string_view name) {
  return absl::StrCat("fedlb.", name);
}

std::string PartialMeanGroup(int64_t index) {
  return absl::StrCat("partial_mean_", index);
}

// Calls `visit` with the name and the variable of every number of a pair.
template <typename Recorded, typename Visitor>
void ForEachNumber(Recorded& recorded, const Visitor& visit) {
  visit("round", recorded.context.round);
  visit("step", recorded.context.step);
  visit("epoch", recorded.context.epoch);
  visit("lr", recorded.context.lr);
  visit("batch_size", recorded.context.batch_size);
  visit("critical", recorded.context.critical);
  visit("gradient_change", recorded.context.gradient_change);
  visit("small_steps", recorded.pair.small_steps);
  visit("cohort_batch_size", recorded.cohort_batch_size);
}

void AddGroup(const std::string& group, const TensorLayout& layout,
              const TensorList& tensors, SafetensorsFile& content) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    content.tensors.emplace_back(absl::StrCat(group, "/", layout[i].name),
                                 tensors[i].contiguous());
  }
}

// Empty where the file has nothing of that group.
absl::StatusOr<TensorList> FindGroup(const SafetensorsFile& content,
                                     const std::string& group,
                                     const TensorLayout& layout) {
  TensorList tensors;
  std::string missing;
  for (const TensorSpec& spec : layout) {
    const at::Tensor* tensor =
        content.Find(absl::StrCat(group, "/", spec.name));
    if (tensor == nullptr) {
      missing = spec.name;
    } else {
      tensors.push_back(*tensor);
    }
  }
  if (tensors.empty()) {
    return tensors;
  }
  if (!missing.empty()) {
    return absl::DataLossError(
        absl::StrCat(group, " lacks parameter ", missing));
  }
  FEDLB_RETURN_IF_ERROR(Annotate(CheckLayout(layout, tensors), group));
  if (!std::isfinite(SquaredNorm(tensors))) {
    return absl::DataLossError(
        absl::StrCat(group, " has values that are not finite"));
  }
  return tensors;
}

absl::Status Parse(const SafetensorsFile& content, const TensorLayout& layout,
                   RecordedPair& recorded) {
  const auto text = [&content](const std::string& key) {
    const auto found = content.metadata.find(key);
    return found == content.metadata.end() ? std::string() : found->second;
  };
  if (text(kKindKey) != kKind) {
    return absl::DataLossError(
        "not a recorded pair; fedlb teacher-fit --record writes these");
  }
  if (text(kFormatKey) != kFormat) {
    return absl::DataLossError(
        absl::StrCat("format ", text(kFormatKey), " is not known here"));
  }
  recorded.target = text(kTargetKey);
  absl::Status status;
  ForEachNumber(recorded, [&](const char* name, auto& variable) {
    double number = 0;
    if (!absl::SimpleAtod(text(NumberKey(name)), &number) ||
        !std::isfinite(number) || std::abs(number) > 1e15) {
      status.Update(absl::DataLossError(absl::StrCat("no valid ", name)));
      return;
    }
    variable = static_cast<std::decay_t<decltype(variable)>>(number);
  });
  FEDLB_RETURN_IF_ERROR(status);
  if (recorded.pair.small_steps < 1 || recorded.context.batch_size < 1 ||
      recorded.cohort_batch_size < 1 || !(recorded.context.lr > 0)) {
    return absl::DataLossError(
        "the number of small steps, the batch sizes and the learning rate must "
        "be positive");
  }
  DisplacementPair& pair = recorded.pair;
  FEDLB_ASSIGN_OR_RETURN(pair.gradient, FindGroup(content, "gradient", layout));
  FEDLB_ASSIGN_OR_RETURN(pair.displacement,
                         FindGroup(content, "displacement", layout));
  FEDLB_ASSIGN_OR_RETURN(pair.reordered,
                         FindGroup(content, "reordered", layout));
  if (pair.gradient.empty() || pair.displacement.empty()) {
    return absl::DataLossError(
        "of another model: no gradient or displacement of its parameters");
  }
  for (int64_t i = 0; i < kMaxPartialMeans; ++i) {
    FEDLB_ASSIGN_OR_RETURN(TensorList mean,
                           FindGroup(content, PartialMeanGroup(i), layout));
    if (mean.empty()) {
      break;
    }
    recorded.partial_means.push_back(std::move(mean));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WritePairFile(const std::string& path, const TensorLayout& layout,
                           const RecordedPair& recorded) {
  SafetensorsFile content;
  content.metadata = {
      {kKindKey, kKind}, {kFormatKey, kFormat}, {kTargetKey, recorded.target}};
  ForEachNumber(recorded, [&](const char* name, const auto& variable) {
    content.metadata[NumberKey(name)] =
        absl::StrFormat("%.17g", static_cast<double>(variable));
  });
  AddGroup("gradient", layout, recorded.pair.gradient, content);
  AddGroup("displacement", layout, recorded.pair.displacement, content);
  AddGroup("reordered", layout, recorded.pair.reordered, content);
  for (size_t i = 0; i < recorded.partial_means.size(); ++i) {
    AddGroup(PartialMeanGroup(static_cast<int64_t>(i)), layout,
             recorded.partial_means[i], content);
  }
  return WriteSafetensors(path, content);
}

absl::StatusOr<RecordedPair> ReadPairFile(const std::string& path,
                                          const TensorLayout& layout) {
  FEDLB_ASSIGN_OR_RETURN(const SafetensorsFile content, ReadSafetensors(path));
  RecordedPair recorded;
  const absl::Status status = Parse(content, layout, recorded);
  if (!status.ok()) {
    return InputFileError(absl::StrCat(path, ": ", status.message()));
  }
  return recorded;
}

std::string PairFileName(int64_t round) {
  return absl::StrFormat("%s%08d%s", kFilePrefix, round, kFileSuffix);
}

absl::StatusOr<std::vector<std::string>> FindPairFiles(
    const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(folder, error);
       !error && entry != std::filesystem::directory_iterator();
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (absl::StartsWith(name, kFilePrefix) &&
        absl::EndsWith(name, kFileSuffix)) {
      paths.push_back(entry->path().string());
    }
  }
  if (error) {
    return InputFileError(absl::StrCat(folder, ": ", error.message()));
  }
  if (paths.empty()) {
    return InputFileError(absl::StrCat(
        folder, ": no recorded pairs; fedlb teacher-fit --record writes them"));
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace fedlb::teacher
