#include "fedlb/config_table.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "toml_text.h"

namespace fedlb {
namespace {

// Optimal string alignment distance: insertions, deletions, substitutions and
// swaps of neighbours count one each.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> before(b.size() + 1);
  std::vector<size_t> above(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (size_t i = 1; i <= a.size(); ++i) {
    before.swap(above);
    above.swap(row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1,
                         above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
  }
  return row[b.size()];
}

std::string Normalized(absl::string_view name) {
  std::string normalized = absl::AsciiStrToLower(name);
  std::replace(normalized.begin(), normalized.end(), '-', '_');
  return normalized;
}

// How far `word` is from being `name`, or nothing that could have been meant.
// Every word that is the beginning of a name, or begins with it, comes after
// all that are misspelt.
constexpr size_t kFar = std::numeric_limits<size_t>::max();
size_t Distance(absl::string_view word, absl::string_view name) {
  constexpr size_t kPrefixDistance = 1000;
  const size_t longer = std::max(word.size(), name.size());
  const size_t difference = longer - std::min(word.size(), name.size());
  const size_t allowed = std::max<size_t>(1, name.size() / 3);
  if (difference <= allowed) {
    const size_t distance = EditDistance(word, name);
    if (distance <= allowed && distance < longer) {
      return distance;
    }
  }
  constexpr size_t kShortestPrefix = 3;
  if (std::min(word.size(), name.size()) >= kShortestPrefix &&
      (absl::StartsWith(name, word) || absl::StartsWith(word, name))) {
    return kPrefixDistance + difference;
  }
  return kFar;
}

}  // namespace

ConfigTable::ConfigTable() = default;
ConfigTable::ConfigTable(const ConfigTable& other)
    : values_(other.values_ == nullptr ? nullptr
                                       : std::make_unique<Map>(*other.values_)),
      origin_(other.origin_) {}
ConfigTable::ConfigTable(ConfigTable&&) noexcept = default;
ConfigTable& ConfigTable::operator=(const ConfigTable& other) {
  // By way of a copy, so that a table can be assigned a part of itself.
  return *this = ConfigTable(other);
}
ConfigTable& ConfigTable::operator=(ConfigTable&&) noexcept = default;
ConfigTable::~ConfigTable() = default;

const ConfigTable::Map& ConfigTable::values() const {
  static const Map* const kEmpty = new Map;
  return values_ == nullptr ? *kEmpty : *values_;
}

bool ConfigTable::empty() const { return values().empty(); }

const ConfigValue* ConfigTable::Find(absl::string_view key) const {
  const auto found = values().find(std::string(key));
  return found == values().end() ? nullptr : &found->second;
}

void ConfigTable::Set(absl::string_view key, ConfigValue value) {
  if (values_ == nullptr) {
    values_ = std::make_unique<Map>();
  }
  values_->insert_or_assign(std::string(key), std::move(value));
}

void ConfigTable::Erase(absl::string_view key) {
  if (values_ != nullptr) {
    values_->erase(std::string(key));
  }
}

ConfigTable& ConfigTable::Subtable(absl::string_view key) {
  const ConfigValue* value = Find(key);
  if (value == nullptr || value->As<ConfigTable>() == nullptr) {
    Set(key, ConfigValue(ConfigTable()));
  }
  return std::get<ConfigTable>(values_->find(std::string(key))->second.data());
}

bool operator==(const ConfigTable& a, const ConfigTable& b) {
  return a.values() == b.values();
}

absl::string_view ConfigValue::TypeName() const {
  // In the order of Data's alternatives.
  constexpr absl::string_view kNames[] = {"boolean", "integer", "number",
                                          "string",  "list",    "table"};
  return kNames[data_.index()];
}

std::string ConfigValue::ToString() const {
  if (const bool* flag = As<bool>()) {
    return *flag ? "true" : "false";
  }
  if (const int64_t* integer = As<int64_t>()) {
    return absl::StrCat(*integer);
  }
  if (const double* number = As<double>()) {
    return TomlNumber(*number);
  }
  if (const std::string* text = As<std::string>()) {
    return TomlString(*text);
  }
  if (const Array* array = As<Array>()) {
    return absl::StrCat("[",
                        absl::StrJoin(*array, ", ",
                                      [](std::string* out, const auto& value) {
                                        out->append(value.ToString());
                                      }),
                        "]");
  }
  const ConfigTable& table = std::get<ConfigTable>(data_);
  if (table.empty()) {
    return "{}";
  }
  return absl::StrCat("{ ",
                      absl::StrJoin(table.values(), ", ",
                                    [](std::string* out, const auto& entry) {
                                      absl::StrAppend(out, TomlKey(entry.first),
                                                      " = ",
                                                      entry.second.ToString());
                                    }),
                      " }");
}

std::string NearestName(absl::string_view word,
                        const std::vector<std::string>& candidates) {
  const std::string normalized = Normalized(word);
  size_t smallest = kFar;
  std::string nearest;
  for (const std::string& candidate : candidates) {
    const size_t distance = Distance(normalized, Normalized(candidate));
    if (distance < smallest) {
      smallest = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace fedlb
