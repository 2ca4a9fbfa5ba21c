#include "safetensors_header.h"

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

struct DtypeName {
  const char* name;
  at::ScalarType dtype;
};

constexpr std::array<DtypeName, 10> kDtypes = {{
    {"F64", at::kDouble},
    {"F32", at::kFloat},
    {"F16", at::kHalf},
    {"BF16", at::kBFloat16},
    {"I64", at::kLong},
    {"I32", at::kInt},
    {"I16", at::kShort},
    {"I8", at::kChar},
    {"U8", at::kByte},
    {"BOOL", at::kBool},
}};

// Reads the header. A DOM would keep the last of two equal keys and nest as
// deep as the text does; this takes events, and only those of the format.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  SafetensorsHeader&& TakeHeader() { return std::move(header_); }
  const std::string& error() const { return error_; }

  bool key(string_t& key) override {
    switch (place_) {
      case Place::kTop:
        return StartMember(key);
      case Place::kMetadata:
        if (header_.metadata.size() == kMaxSafetensorsEntries) {
          return Fail(
              absl::StrCat("over ", kMaxSafetensorsEntries, " metadata keys"));
        }
        if (header_.metadata.contains(key)) {
          return Fail(absl::StrCat("duplicate metadata key ", Quoted(key)));
        }
        key_ = std::move(key);
        return true;
      default:
        return StartField(key);
    }
  }

  bool start_object(size_t /*size*/) override {
    switch (place_) {
      case Place::kOutside:
        place_ = Place::kTop;
        return true;
      case Place::kTop:
        place_ =
            key_ == kSafetensorsMetadataKey ? Place::kMetadata : Place::kTensor;
        return true;
      default:
        return Unexpected("an object");
    }
  }

  bool end_object() override {
    if (place_ == Place::kTensor && fields_.size() != 3) {
      return Fail(absl::StrCat("tensor ", Quoted(entry().name),
                               " lacks one of dtype, shape, data_offsets"));
    }
    place_ = place_ == Place::kTop ? Place::kOutside : Place::kTop;
    return true;
  }

  bool start_array(size_t /*size*/) override {
    if (place_ != Place::kTensor || key_ == "dtype") {
      return Unexpected("an array");
    }
    place_ = key_ == "shape" ? Place::kShape : Place::kOffsets;
    return true;
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && num_offsets_ != 2) {
      return Fail(absl::StrCat("tensor ", Quoted(entry().name), " has ",
                               num_offsets_, " data_offsets, must be 2"));
    }
    place_ = Place::kTensor;
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      header_.metadata.emplace(std::move(key_), std::move(value));
      return true;
    }
    if (place_ != Place::kTensor || key_ != "dtype") {
      return Unexpected("a string");
    }
    const auto* dtype = absl::c_find_if(
        kDtypes, [&value](const DtypeName& d) { return d.name == value; });
    if (dtype == kDtypes.end()) {
      return Fail(absl::StrCat("tensor ", Quoted(entry().name),
                               " has the unknown dtype ", Quoted(value)));
    }
    entry().dtype = dtype->dtype;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape) {
      if (entry().shape.size() == kMaxSafetensorsRank) {
        return Fail(absl::StrCat("tensor ", Quoted(entry().name), " has over ",
                                 kMaxSafetensorsRank, " dimensions"));
      }
      if (value > static_cast<uint64_t>(INT64_MAX)) {
        return Fail(absl::StrCat("tensor ", Quoted(entry().name),
                                 " has a dimension that overflows"));
      }
      entry().shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (place_ == Place::kOffsets) {
      (num_offsets_ == 0 ? entry().begin : entry().end) = value;
      ++num_offsets_;
      return num_offsets_ <= 2 ||
             Fail(absl::StrCat("tensor ", Quoted(entry().name),
                               " has over 2 data_offsets"));
    }
    return Unexpected("a number");
  }

  bool number_integer(number_integer_t /*value*/) override {
    return Unexpected("a negative number");
  }
  bool number_float(number_float_t /*value*/, const string_t& /*s*/) override {
    return Unexpected("a number that is not an integer of 64 bits");
  }
  bool null() override { return Unexpected("null"); }
  bool boolean(bool /*value*/) override { return Unexpected("a boolean"); }
  bool binary(binary_t& /*value*/) override { return Unexpected("binary"); }

  bool parse_error(size_t position, const std::string& /*last_token*/,
                   const nlohmann::json::exception& /*error*/) override {
    return Fail(absl::StrCat("not valid JSON in UTF-8 at byte ", position));
  }

 private:
  enum class Place { kOutside, kTop, kMetadata, kTensor, kShape, kOffsets };

  SafetensorsEntry& entry() { return header_.tensors.back(); }

  bool Fail(absl::string_view message) {
    error_ = std::string(message);
    return false;
  }
  bool Unexpected(absl::string_view what) {
    return Fail(absl::StrCat(what,
                             " in a place where the format has none, near key ",
                             Quoted(key_)));
  }

  bool StartMember(string_t& key) {
    if (!names_.insert(key).second) {
      return Fail(absl::StrCat("duplicate key ", Quoted(key)));
    }
    if (key != kSafetensorsMetadataKey) {
      if (key.empty() || key.size() > kMaxSafetensorsNameBytes) {
        return Fail(absl::StrCat("the tensor name ", Quoted(key),
                                 " is not of 1 to ", kMaxSafetensorsNameBytes,
                                 " bytes"));
      }
      if (header_.tensors.size() == kMaxSafetensorsEntries) {
        return Fail(absl::StrCat("over ", kMaxSafetensorsEntries, " tensors"));
      }
      header_.tensors.emplace_back().name = key;
      fields_.clear();
      num_offsets_ = 0;
    }
    key_ = std::move(key);
    return true;
  }

  bool StartField(string_t& key) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      return Fail(absl::StrCat("tensor ", Quoted(entry().name),
                               " has the unknown key ", Quoted(key)));
    }
    if (!fields_.insert(key).second) {
      return Fail(absl::StrCat("tensor ", Quoted(entry().name),
                               " has the duplicate key ", Quoted(key)));
    }
    key_ = std::move(key);
    return true;
  }

  SafetensorsHeader header_;
  std::string error_;
  Place place_ = Place::kOutside;
  std::string key_;
  absl::flat_hash_set<std::string> names_;
  absl::flat_hash_set<std::string> fields_;  // of the tensor being read
  int num_offsets_ = 0;
};

// The number of bytes of the tensor, and nothing where the product overflows.
// Dimensions of 0 count as 1 in a second product, which bounds the strides that
// LibTorch computes.
std::optional<uint64_t> CheckedBytes(const SafetensorsEntry& entry) {
  const auto item = static_cast<int64_t>(c10::elementSize(entry.dtype));
  int64_t bytes = item;
  int64_t strides = item;
  for (const int64_t size : entry.shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes) ||
        __builtin_mul_overflow(strides, std::max<int64_t>(size, 1), &strides)) {
      return std::nullopt;
    }
  }
  return static_cast<uint64_t>(bytes);
}

// Puts the tensors in the order of their bytes and checks that these fill the
// data area exactly.
absl::Status CheckExtents(uint64_t data_size,
                          std::vector<SafetensorsEntry>& tensors) {
  std::stable_sort(tensors.begin(), tensors.end(),
                   [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
                     return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
                   });
  uint64_t position = 0;
  for (const SafetensorsEntry& entry : tensors) {
    const auto failure = [&entry](absl::string_view what) {
      return absl::DataLossError(absl::StrCat("tensor ", Quoted(entry.name),
                                              " at [", entry.begin, ", ",
                                              entry.end, ") ", what));
    };
    if (entry.end < entry.begin) {
      return failure("ends before it begins");
    }
    if (entry.end > data_size) {
      return failure(
          absl::StrCat("reaches beyond the data of ", data_size, " bytes"));
    }
    if (entry.begin != position) {
      return failure(entry.begin < position ? "overlaps the one before it"
                                            : "leaves a hole before it");
    }
    const std::optional<uint64_t> bytes = CheckedBytes(entry);
    if (!bytes.has_value()) {
      return failure("has a shape whose size overflows");
    }
    if (*bytes != entry.end - entry.begin) {
      return failure(absl::StrCat("has a shape of ", *bytes, " bytes"));
    }
    position = entry.end;
  }
  if (position != data_size) {
    return absl::DataLossError(absl::StrCat("the tensors end at byte ",
                                            position, " of ", data_size,
                                            " bytes of data"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view text,
                                                         uint64_t data_size) {
  // The JSON library takes a zero byte for the end and ignores what follows.
  if (text.empty() || text.front() != '{' ||
      absl::c_linear_search(text, '\0')) {
    return absl::DataLossError("the header is not a JSON object");
  }
  HeaderReader reader;
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &reader)) {
    return absl::DataLossError(absl::StrCat("header: ", reader.error()));
  }
  SafetensorsHeader header = reader.TakeHeader();
  FEDLB_RETURN_IF_ERROR(CheckExtents(data_size, header.tensors));
  return header;
}

const char* SafetensorsDtypeName(at::ScalarType dtype) {
  const auto* found = absl::c_find_if(
      kDtypes, [dtype](const DtypeName& d) { return d.dtype == dtype; });
  return found == kDtypes.end() ? nullptr : found->name;
}

std::string Quoted(absl::string_view text) {
  constexpr size_t kShown = 64;
  return absl::StrCat("'", absl::CHexEscape(text.substr(0, kShown)),
                      text.size() > kShown ? "...'" : "'");
}

}  // namespace fedlb
