#include "aggregation/update_file.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include <c10/core/ScalarType.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

// What is read only for its digest is read in pieces of this size.
constexpr uint64_t kPieceBytes = 256 << 10;

template <typename From, typename To>
void Convert(const char* bytes, int64_t count, To* out) {
  const auto* const values = reinterpret_cast<const From*>(bytes);
  for (int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<To>(values[i]);
  }
}

template <typename To>
void Convert(at::ScalarType from, const char* bytes, int64_t count, To* out) {
  switch (from) {
    case at::kDouble:
      return Convert<double>(bytes, count, out);
    case at::kFloat:
      return Convert<float>(bytes, count, out);
    case at::kHalf:
      return Convert<c10::Half>(bytes, count, out);
    default:  // the only other floating type of the format
      return Convert<c10::BFloat16>(bytes, count, out);
  }
}

}  // namespace

ColumnLayout::ColumnLayout(const SafetensorsHeader& header) {
  for (const SafetensorsEntry& entry : header.tensors) {
    if (c10::isFloatingType(entry.dtype)) {
      Append({entry.name, entry.shape, entry.dtype});
    }
  }
}

TensorList ColumnLayout::Views(const at::Tensor& row) const {
  TensorList views;
  for (size_t i = 0; i < specs_.size(); ++i) {
    views.push_back(
        row.narrow(0, begins_[i], specs_[i].numel()).view(specs_[i].sizes));
  }
  return views;
}

ColumnLayout ColumnLayout::InOrderOf(const SafetensorsHeader& header) const {
  absl::flat_hash_map<absl::string_view, const TensorSpec*> by_name;
  for (const TensorSpec& spec : specs_) {
    by_name[spec.name] = &spec;
  }
  ColumnLayout ordered;
  for (const SafetensorsEntry& entry : header.tensors) {
    if (const auto found = by_name.find(entry.name); found != by_name.end()) {
      ordered.Append(*found->second);
    }
  }
  return ordered;
}

void ColumnLayout::Append(TensorSpec spec) {
  begins_.push_back(width_);
  width_ += spec.numel();
  specs_.push_back(std::move(spec));
}

std::string SignatureOf(const SafetensorsHeader& header) {
  std::vector<std::string> tensors;
  for (const SafetensorsEntry& entry : header.tensors) {
    tensors.push_back(absl::StrCat(entry.name.size(), ":", entry.name,
                                   c10::isFloatingType(entry.dtype)
                                       ? "float"
                                       : SafetensorsDtypeName(entry.dtype),
                                   absl::StrJoin(entry.shape, ",")));
  }
  std::sort(tensors.begin(), tensors.end());
  return absl::StrJoin(tensors, ";");
}

absl::StatusOr<UpdateFile> UpdateFile::Open(const std::string& path) {
  FEDLB_ASSIGN_OR_RETURN(SafetensorsReader reader,
                         SafetensorsReader::Open(path));
  return UpdateFile(std::move(reader));
}

UpdateFile::UpdateFile(SafetensorsReader reader)
    : reader_(std::move(reader)), digests_(header().metadata) {
  verified_ = !digests_.any();
}

int64_t UpdateFile::num_bytes() const {
  return header().tensors.empty()
             ? 0
             : static_cast<int64_t>(header().tensors.back().end);
}

absl::Status UpdateFile::Bind(const ColumnLayout& layout) {
  absl::flat_hash_map<absl::string_view, const SafetensorsEntry*> by_name;
  size_t floating = 0;
  for (const SafetensorsEntry& entry : header().tensors) {
    by_name[entry.name] = &entry;
    floating += c10::isFloatingType(entry.dtype) ? 1 : 0;
  }
  entries_.clear();
  bool in_order = true;
  for (const TensorSpec& spec : layout.specs()) {
    const auto found = by_name.find(spec.name);
    if (found == by_name.end()) {
      return CannotRead(
          path(), absl::StrCat("tensor ", Quoted(spec.name), " is missing"));
    }
    const SafetensorsEntry& entry = *found->second;
    if (!c10::isFloatingType(entry.dtype)) {
      return CannotRead(
          path(), absl::StrCat("tensor ", Quoted(spec.name), " is of type ",
                               SafetensorsDtypeName(entry.dtype),
                               ", not of a floating type"));
    }
    if (entry.shape != spec.sizes) {
      return CannotRead(
          path(),
          absl::StrCat("tensor ", Quoted(spec.name), " is of shape [",
                       absl::StrJoin(entry.shape, ", "), "], elsewhere of [",
                       absl::StrJoin(spec.sizes, ", "), "]"));
    }
    in_order =
        in_order && (entries_.empty() || entries_.back()->end <= entry.begin);
    entries_.push_back(&entry);
    by_name.erase(found);
  }
  if (floating > layout.specs().size()) {
    for (const SafetensorsEntry& entry : header().tensors) {
      if (c10::isFloatingType(entry.dtype) && by_name.contains(entry.name)) {
        return CannotRead(path(), absl::StrCat("tensor ", Quoted(entry.name),
                                               " is in no other file"));
      }
    }
  }
  layout_ = &layout;
  if (!in_order && !verified_) {
    FEDLB_RETURN_IF_ERROR(EndPass());
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status UpdateFile::Read(int64_t begin, int64_t count, T* row) {
  constexpr at::ScalarType kOwn =
      std::is_same_v<T, float> ? at::kFloat : at::kDouble;
  const std::vector<int64_t>& begins = layout_->begins();
  const int64_t end = begin + count;
  // The last tensor that begins at or before the first column.
  auto i = static_cast<size_t>(
      std::upper_bound(begins.begin(), begins.end(), begin) - begins.begin() -
      1);
  for (int64_t column = begin; column < end;) {
    const SafetensorsEntry& first = *entries_[i];
    const auto item = static_cast<int64_t>(c10::elementSize(first.dtype));
    const uint64_t from =
        first.begin + static_cast<uint64_t>((column - begins[i]) * item);
    // As many tensors at once as lie next to each other.
    int64_t last = std::min(end, begins[i] + layout_->specs()[i].numel());
    for (++i; last < end && i < entries_.size() &&
              entries_[i]->dtype == first.dtype &&
              entries_[i]->begin == entries_[i - 1]->end;
         ++i) {
      last = std::min(end, begins[i] + layout_->specs()[i].numel());
    }
    const auto size = static_cast<uint64_t>((last - column) * item);
    T* const target = row + (column - begin);
    char* bytes = reinterpret_cast<char*>(target);
    if (first.dtype != kOwn) {
      scratch_.resize(size);
      bytes = scratch_.data();
    }
    FEDLB_RETURN_IF_ERROR(reader_.ReadAt(from, bytes, size));
    FEDLB_RETURN_IF_ERROR(Digest(from, from + size, bytes));
    if (first.dtype != kOwn) {
      Convert(first.dtype, bytes, last - column, target);
    }
    column = last;
  }
  return absl::OkStatus();
}

template absl::Status UpdateFile::Read(int64_t, int64_t, float*);
template absl::Status UpdateFile::Read(int64_t, int64_t, double*);

absl::StatusOr<at::Tensor> UpdateFile::ReadOther(
    const SafetensorsEntry& entry) const {
  DataDigests no_digests({});
  absl::StatusOr<at::Tensor> tensor = ReadSafetensorsTensor(
      entry,
      [this](uint64_t offset, char* target, size_t size) {
        return reader_.ReadAt(offset, target, size);
      },
      no_digests);
  if (absl::IsDataLoss(tensor.status())) {
    return CannotRead(path(), tensor.status().message());
  }
  return tensor;
}

absl::Status UpdateFile::EndPass() {
  if (!verified_) {
    const auto end = static_cast<uint64_t>(num_bytes());
    FEDLB_RETURN_IF_ERROR(Digest(end, end, nullptr));
    const absl::Status status = digests_.Check();
    if (!status.ok()) {
      return CannotRead(path(), status.message());
    }
    verified_ = true;
  }
  return reader_.CheckUnchanged();
}

absl::Status UpdateFile::Digest(uint64_t begin, uint64_t end,
                                const char* bytes) {
  if (verified_) {
    return absl::OkStatus();
  }
  while (digested_ < begin) {  // tensors that are no columns
    gap_.resize(std::min(kPieceBytes, begin - digested_));
    FEDLB_RETURN_IF_ERROR(reader_.ReadAt(digested_, gap_.data(), gap_.size()));
    digests_.Update(gap_.data(), gap_.size());
    digested_ += gap_.size();
  }
  digests_.Update(bytes, end - begin);
  digested_ = end;
  return absl::OkStatus();
}

}  // namespace fedlb
