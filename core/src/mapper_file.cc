#include "fedlb/mapper_file.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include <c10/core/ScalarType.h>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "fedlb/config.h"
#include "fedlb/safetensors.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

using nlohmann::json;

constexpr char kKindKey[] = "fedlb.kind";
constexpr char kKind[] = "gradient_mapper";
constexpr char kFormatKey[] = "fedlb.format";
constexpr char kFormat[] = "1";
constexpr char kOptionsKey[] = "fedlb.options";
constexpr char kLayoutKey[] = "fedlb.layout";
constexpr char kScalarsKey[] = "fedlb.scalars";
constexpr char kSizesKey[] = "fedlb.sizes";
constexpr char kNotePrefix[] = "fedlb.note.";

std::string TensorName(absl::string_view group, size_t index) {
  return absl::StrCat(group, "/", index);
}

json LayoutToJson(const TensorLayout& layout) {
  json list = json::array();
  for (const TensorSpec& spec : layout) {
    list.push_back({spec.name, spec.sizes, at::toString(spec.dtype)});
  }
  return list;
}

std::string Describe(const TensorSpec& spec) {
  return absl::StrCat(spec.name, " [", absl::StrJoin(spec.sizes, ", "), "] ",
                      at::toString(spec.dtype));
}

// Throws nlohmann's exceptions where the text is not what WriteMapperFile
// makes.
TensorLayout LayoutFromJson(const json& list) {
  TensorLayout layout;
  for (const json& item : list) {
    TensorSpec spec;
    spec.name = item.at(0).get<std::string>();
    spec.sizes = item.at(1).get<std::vector<int64_t>>();
    const auto dtype = item.at(2).get<std::string>();
    spec.dtype = dtype == at::toString(at::kDouble) ? at::kDouble : at::kFloat;
    layout.push_back(std::move(spec));
  }
  return layout;
}

absl::Status Parse(const SafetensorsFile& content, const std::string& path,
                   MapperFile& file) {
  const auto text = [&content](const char* key) {
    const auto found = content.metadata.find(key);
    return found == content.metadata.end() ? std::string() : found->second;
  };
  if (text(kKindKey) != kKind) {
    return absl::DataLossError(
        "not a gradient mapper's file; fedlb teacher-fit writes these");
  }
  if (text(kFormatKey) != kFormat) {
    return absl::DataLossError(
        absl::StrCat("format ", text(kFormatKey), " is not known here"));
  }
  FEDLB_ASSIGN_OR_RETURN(file.options, ParseToml(text(kOptionsKey), path));
  file.layout = LayoutFromJson(json::parse(text(kLayoutKey)));
  const json scalars = json::parse(text(kScalarsKey));
  for (const auto& [name, value] : scalars.items()) {
    double number = 0;
    if (!absl::SimpleAtod(value.get<std::string>(), &number) ||
        !std::isfinite(number)) {
      return absl::DataLossError(absl::StrCat(name, " is not finite"));
    }
    file.state.scalars[name] = number;
  }
  const json sizes = json::parse(text(kSizesKey));
  for (const auto& [name, size] : sizes.items()) {
    TensorList& tensors = file.state.tensors[name];
    for (size_t i = 0; i < size.get<size_t>(); ++i) {
      const at::Tensor* tensor = content.Find(TensorName(name, i));
      if (tensor == nullptr) {
        return absl::DataLossError(
            absl::StrCat("tensor ", TensorName(name, i), " is missing"));
      }
      tensors.push_back(*tensor);
    }
    if (!std::isfinite(SquaredNorm(tensors))) {
      return absl::DataLossError(
          absl::StrCat(name, " has values that are not finite"));
    }
  }
  for (const auto& [key, value] : content.metadata) {
    absl::string_view name = key;
    if (absl::ConsumePrefix(&name, kNotePrefix)) {
      file.notes[std::string(name)] = value;
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteMapperFile(const std::string& path, const MapperFile& file) {
  SafetensorsFile content;
  json scalars = json::object();
  json sizes = json::object();
  for (const auto& [name, value] : file.state.scalars) {
    scalars[name] = absl::StrFormat("%.17g", value);
  }
  for (const auto& [name, tensors] : file.state.tensors) {
    sizes[name] = tensors.size();
    for (size_t i = 0; i < tensors.size(); ++i) {
      content.tensors.emplace_back(TensorName(name, i),
                                   tensors[i].contiguous());
    }
  }
  content.metadata = {
      {kKindKey, kKind},
      {kFormatKey, kFormat},
      {kOptionsKey, PrintToml(file.options, /*with_origins=*/false)},
      {kLayoutKey, LayoutToJson(file.layout).dump()},
      {kScalarsKey, scalars.dump()},
      {kSizesKey, sizes.dump()}};
  for (const auto& [name, value] : file.notes) {
    content.metadata[absl::StrCat(kNotePrefix, name)] = value;
  }
  return WriteSafetensors(path, content);
}

absl::StatusOr<MapperFile> ReadMapperFile(const std::string& path) {
  FEDLB_ASSIGN_OR_RETURN(const SafetensorsFile content, ReadSafetensors(path));
  MapperFile file;
  const absl::Status status =
      CatchAsStatus("metadata", [&] { return Parse(content, path, file); });
  if (!status.ok()) {
    return InputFileError(absl::StrCat(path, ": ", status.message()));
  }
  return file;
}

absl::Status CheckMapperFileFits(const std::string& path,
                                 const MapperFile& file,
                                 const TensorLayout& layout) {
  for (size_t i = 0; i < std::max(layout.size(), file.layout.size()); ++i) {
    const std::string has =
        i < file.layout.size() ? Describe(file.layout[i]) : "nothing";
    const std::string wants =
        i < layout.size() ? Describe(layout[i]) : "nothing";
    if (has != wants) {
      return InputFileError(
          absl::StrCat(path, ": fitted to another model: parameter ", i, " is ",
                       has, " in the file and ", wants, " in the model"));
    }
  }
  return absl::OkStatus();
}

}  // namespace fedlb
