// Options of a component declared once: parser, validator, printer and
// documentation in one.

#ifndef FEDLB_PARAM_SCHEMA_H_
#define FEDLB_PARAM_SCHEMA_H_

#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/config_table.h"
#include "fedlb/export.h"
#include "fedlb/status.h"

namespace fedlb {

// What a value must satisfy. `text` finishes the sentence "must be ...".
struct Constraint {
  std::string text;
  std::function<bool(const ConfigValue&)> holds;  // empty: anything goes
  // Values on either side of the bound, for tests: `good` satisfy it, `bad`
  // do not.
  std::vector<ConfigValue> good;
  std::vector<ConfigValue> bad;
};

// Bounds for numbers and, element by element, for lists of numbers. NaN never
// satisfies one.
FEDLB_API Constraint AtLeast(double low);
FEDLB_API Constraint GreaterThan(double low);
FEDLB_API Constraint InClosed(double low, double high);        // [low, high]
FEDLB_API Constraint InHalfOpen(double low, double high);      // [low, high)
FEDLB_API Constraint InLeftOpen(double low, double high);      // (low, high]
FEDLB_API Constraint InOpen(double low, double high);          // (low, high)
// For strings.
FEDLB_API Constraint OneOf(std::vector<std::string> choices);

// A count that may be left to the program: the integer, or "auto".
struct AutoInteger {
  int64_t value = 0;  // 0: auto

  bool is_auto() const { return value == 0; }
  friend bool operator==(const AutoInteger&, const AutoInteger&) = default;
};

// The same for a number of 0 or more.
struct AutoNumber {
  double value = 0;  // -1: auto

  bool is_auto() const { return value < 0; }
  friend bool operator==(const AutoNumber&, const AutoNumber&) = default;
};

// A number of bytes: an integer, or a string like "8GiB", "500MB"; 0 for none.
struct ByteCount {
  int64_t value = 0;

  friend bool operator==(const ByteCount&, const ByteCount&) = default;
};

// One parameter as `plugins describe` shows it.
struct ParamInfo {
  std::string name;
  std::string type;           // "integer", "number", "list of integers", ...
  std::string default_value;  // as TOML writes it
  std::string requirement;    // "in [0, 0.5)", or empty
  std::string description;
  Constraint constraint;
  // Of the machine and not of the experiment (AddLocal).
  bool local = false;
};

namespace internal {

template <typename T>
struct ParamType;  // Read(value, T*) and Write(T) for every type of option

#define FEDLB_DECLARE_PARAM_TYPE(T)                                         \
  template <>                                                               \
  struct FEDLB_API ParamType<T> {                                           \
    static const char* Name();                                              \
    static bool Read(const ConfigValue& value, T* out);                     \
    static ConfigValue Write(const T& value);                               \
  }
FEDLB_DECLARE_PARAM_TYPE(bool);
FEDLB_DECLARE_PARAM_TYPE(int64_t);
FEDLB_DECLARE_PARAM_TYPE(double);
FEDLB_DECLARE_PARAM_TYPE(std::string);
FEDLB_DECLARE_PARAM_TYPE(std::vector<int64_t>);
FEDLB_DECLARE_PARAM_TYPE(std::vector<double>);
FEDLB_DECLARE_PARAM_TYPE(std::vector<std::string>);
FEDLB_DECLARE_PARAM_TYPE(AutoInteger);
FEDLB_DECLARE_PARAM_TYPE(AutoNumber);
FEDLB_DECLARE_PARAM_TYPE(ByteCount);
FEDLB_DECLARE_PARAM_TYPE(ConfigTable);
#undef FEDLB_DECLARE_PARAM_TYPE

// One field with the type of the options erased.
struct ParamField {
  ParamInfo info;
  std::function<bool(const ConfigValue&, void* options)> read;
  std::function<ConfigValue(const void* options)> write;
};

FEDLB_API absl::Status ParseFields(const std::vector<ParamField>& fields,
                                   const ConfigTable& table, void* options);

}  // namespace internal

// The parameters of `Options`, a plain struct whose member initialisers are
// the defaults. A configuration key is the member's name, letter for letter.
template <typename Options>
class ParamSchema {
 public:
  // A parameter of type bool, int64_t, double, std::string, a vector of the
  // last three, AutoInteger, AutoNumber, ByteCount, or ConfigTable (the nested
  // table of a contained component).
  template <typename T>
  ParamSchema&& Add(absl::string_view name, T Options::*member,
                    absl::string_view description,
                    Constraint constraint = {}) && {
    using Type = internal::ParamType<T>;
    internal::ParamField field;
    field.info.name = std::string(name);
    field.info.type = Type::Name();
    field.info.default_value = Type::Write(Options{}.*member).ToString();
    field.info.requirement = constraint.text;
    field.info.description = std::string(description);
    field.info.constraint = std::move(constraint);
    field.read = [member](const ConfigValue& value, void* options) {
      return Type::Read(value, &(static_cast<Options*>(options)->*member));
    };
    field.write = [member](const void* options) {
      return Type::Write(static_cast<const Options*>(options)->*member);
    };
    fields_.push_back(std::move(field));
    return std::move(*this);
  }

  // The same for what belongs to the machine and not to the experiment: paths
  // and permissions. No server sets it for its clients.
  template <typename T>
  ParamSchema&& AddLocal(absl::string_view name, T Options::*member,
                         absl::string_view description,
                         Constraint constraint = {}) && {
    std::move(*this).Add(name, member, description, std::move(constraint));
    fields_.back().info.local = true;
    return std::move(*this);
  }

  // An enumeration written as one of the names of `choices`.
  template <typename E>
  ParamSchema&& AddChoice(absl::string_view name, E Options::*member,
                          std::vector<std::pair<std::string, E>> choices,
                          absl::string_view description) && {
    static_assert(std::is_enum_v<E>);
    const auto name_of = [choices](E value) {
      for (const auto& [text, choice] : choices) {
        if (choice == value) {
          return text;
        }
      }
      return std::string();
    };
    std::vector<std::string> names;
    for (const auto& choice : choices) {
      names.push_back(choice.first);
    }
    internal::ParamField field;
    field.info.name = std::string(name);
    field.info.type = "string";
    field.info.default_value =
        ConfigValue(name_of(Options{}.*member)).ToString();
    field.info.constraint = OneOf(std::move(names));
    field.info.requirement = field.info.constraint.text;
    field.info.description = std::string(description);
    field.read = [member, choices](const ConfigValue& value, void* options) {
      const std::string* text = value.As<std::string>();
      if (text == nullptr) {
        return false;
      }
      for (const auto& [choice, e] : choices) {
        if (choice == *text) {
          static_cast<Options*>(options)->*member = e;
        }
      }
      return true;
    };
    field.write = [member, name_of](const void* options) {
      return ConfigValue(name_of(static_cast<const Options*>(options)->*member));
    };
    fields_.push_back(std::move(field));
    return std::move(*this);
  }

  // A condition over several parameters, checked after each alone has passed;
  // its status says which keys contradict each other.
  ParamSchema&& Check(std::function<absl::Status(const Options&)> check) && {
    checks_.push_back(std::move(check));
    return std::move(*this);
  }

  // The options that `table` describes; defaults where it is silent.
  //
  // kInvalidArgument (kConfig) with origin, key, value and requirement: unknown
  // key (with the nearest valid one), wrong type, bound or check violated.
  absl::StatusOr<Options> Parse(const ConfigTable& table) const {
    Options options;
    FEDLB_RETURN_IF_ERROR(internal::ParseFields(fields_, table, &options));
    for (const auto& check : checks_) {
      const absl::Status status = check(options);
      if (!status.ok()) {
        return ConfigError(std::string(
            Annotate(status, table.origin().empty() ? "configuration"
                                                    : table.origin())
                .message()));
      }
    }
    return options;
  }

  // The complete table of `options`: Parse(Print(options)) == options.
  ConfigTable Print(const Options& options) const {
    ConfigTable table;
    for (const internal::ParamField& field : fields_) {
      table.Set(field.info.name, field.write(&options));
    }
    return table;
  }

  std::vector<ParamInfo> Describe() const {
    std::vector<ParamInfo> infos;
    for (const internal::ParamField& field : fields_) {
      infos.push_back(field.info);
    }
    return infos;
  }

 private:
  std::vector<internal::ParamField> fields_;
  std::vector<std::function<absl::Status(const Options&)>> checks_;
};

}  // namespace fedlb

#endif  // FEDLB_PARAM_SCHEMA_H_
