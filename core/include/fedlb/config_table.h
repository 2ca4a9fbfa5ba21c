// Configuration as a tree of values, each of which knows where it came from.

#ifndef FEDLB_CONFIG_TABLE_H_
#define FEDLB_CONFIG_TABLE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "fedlb/export.h"

namespace fedlb {

class ConfigValue;

// Keys in alphabetical order, so that a printed table is the same every time.
// `origin` says where the table's header stands ("run.toml:3:1").
class FEDLB_API ConfigTable {
 public:
  using Map = std::map<std::string, ConfigValue>;

  ConfigTable();
  ConfigTable(const ConfigTable&);
  ConfigTable(ConfigTable&&) noexcept;
  ConfigTable& operator=(const ConfigTable&);
  ConfigTable& operator=(ConfigTable&&) noexcept;
  ~ConfigTable();

  const Map& values() const;
  bool empty() const;

  // The value at `key`, or nullptr.
  const ConfigValue* Find(absl::string_view key) const;
  void Set(absl::string_view key, ConfigValue value);
  void Erase(absl::string_view key);

  // The table at `key`; an empty one is made where there is none or where
  // something else stands.
  ConfigTable& Subtable(absl::string_view key);

  const std::string& origin() const { return origin_; }
  void set_origin(std::string origin) { origin_ = std::move(origin); }

  // Equal keys and values; origins do not count.
  friend FEDLB_API bool operator==(const ConfigTable& a, const ConfigTable& b);

 private:
  std::unique_ptr<Map> values_;
  std::string origin_;
};

class FEDLB_API ConfigValue {
 public:
  using Array = std::vector<ConfigValue>;
  using Data =
      std::variant<bool, int64_t, double, std::string, Array, ConfigTable>;

  ConfigValue() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): a value is written as itself.
  ConfigValue(Data data, std::string origin = "default")
      : data_(std::move(data)), origin_(std::move(origin)) {}

  const Data& data() const { return data_; }
  Data& data() { return data_; }
  template <typename T>
  const T* As() const {
    return std::get_if<T>(&data_);
  }

  // "boolean", "integer", "number", "string", "list" or "table".
  absl::string_view TypeName() const;

  // As TOML would write it.
  std::string ToString() const;

  // "default", "run.toml:12:3", "--set", "environment".
  const std::string& origin() const { return origin_; }
  void set_origin(std::string origin) { origin_ = std::move(origin); }

  // Where a later layer names another component for the section: the one that
  // this value was written for, "" for the section's default.
  const std::optional<std::string>& written_for() const {
    return written_for_;
  }
  void set_written_for(std::string component) {
    written_for_ = std::move(component);
  }

  // Where a value comes from does not count.
  friend bool operator==(const ConfigValue& a, const ConfigValue& b) {
    return a.data_ == b.data_;
  }

 private:
  Data data_ = false;
  std::string origin_ = "default";
  std::optional<std::string> written_for_;
};

// The candidate nearest to `word` by edit distance, or an empty string when
// none is near enough to have been meant.
FEDLB_API std::string NearestName(absl::string_view word,
                                  const std::vector<std::string>& candidates);

}  // namespace fedlb

#endif  // FEDLB_CONFIG_TABLE_H_
