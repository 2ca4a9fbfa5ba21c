#include "fedlb/param_schema.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "toml_text.h"
#include "unknown_key.h"

namespace fedlb {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A bound in a sentence: "2147483648", "0.5".
std::string BoundText(double bound) {
  char buffer[32];
  return std::string(buffer,
                     std::to_chars(buffer, buffer + sizeof(buffer), bound).ptr);
}

// Whether `value` is a finite number, or a list of such, for which `holds`.
template <typename Predicate>
bool NumbersHold(const ConfigValue& value, const Predicate& holds) {
  // long double holds every int64_t and every double exactly.
  if (const int64_t* integer = value.As<int64_t>()) {
    return holds(static_cast<long double>(*integer));
  }
  if (const double* number = value.As<double>()) {
    return std::isfinite(*number) && holds(static_cast<long double>(*number));
  }
  if (const auto* array = value.As<ConfigValue::Array>()) {
    return std::all_of(array->begin(), array->end(),
                       [&](const ConfigValue& element) {
                         return NumbersHold(element, holds);
                       });
  }
  return false;
}

// An interval; an infinite bound is no bound.
struct Interval {
  double low = -kInfinity;
  bool low_closed = false;
  double high = kInfinity;
  bool high_closed = false;

  bool Contains(long double x) const {
    return (low_closed ? x >= low : x > low) &&
           (high_closed ? x <= high : x < high);
  }
};

// Bounds that integers can meet are sampled with integers, because the
// parameter may be one; the others belong to a parameter of type number.
bool IsForIntegers(const Interval& interval) {
  const auto integral = [](double bound) {
    return std::isinf(bound) ||
           (bound == std::floor(bound) && std::abs(bound) < 0x1p62);
  };
  const bool both_closed = interval.low_closed && interval.high_closed;
  return integral(interval.low) && integral(interval.high) &&
         (both_closed || interval.high - interval.low > 1);
}

Constraint Within(const Interval& interval, std::string text) {
  Constraint constraint;
  constraint.text = std::move(text);
  constraint.holds = [interval](const ConfigValue& value) {
    return NumbersHold(value,
                       [&](long double x) { return interval.Contains(x); });
  };

  std::vector<double> samples;
  const bool integers = IsForIntegers(interval);
  for (const double bound : {interval.low, interval.high}) {
    if (std::isfinite(bound)) {
      samples.push_back(bound);
      samples.push_back(integers ? bound - 1
                                 : std::nextafter(bound, -kInfinity));
      samples.push_back(integers ? bound + 1
                                 : std::nextafter(bound, kInfinity));
    }
  }
  if (!integers && std::isfinite(interval.high - interval.low)) {
    samples.push_back(interval.low + (interval.high - interval.low) / 2);
  }
  for (const double sample : samples) {
    const ConfigValue value = integers
                                  ? ConfigValue(static_cast<int64_t>(sample))
                                  : ConfigValue(sample);
    (interval.Contains(sample) ? constraint.good : constraint.bad)
        .push_back(value);
  }
  constraint.bad.push_back(ConfigValue(kNaN));
  return constraint;
}

std::string IntervalText(const char* open, double low, double high,
                         const char* close) {
  return absl::StrCat("in ", open, BoundText(low), ", ", BoundText(high),
                      close);
}

bool IsFinite(const ConfigValue& value) {
  if (const double* number = value.As<double>()) {
    return std::isfinite(*number);
  }
  if (const auto* array = value.As<ConfigValue::Array>()) {
    return std::all_of(array->begin(), array->end(), IsFinite);
  }
  return true;
}

// Types whose name says what may stand there get no "not string": a string may,
// only not this one.
absl::string_view Expectation(absl::string_view type, const ConfigValue& value,
                              std::string* storage) {
  if (type == "bytes") {
    return "expected a number of bytes, such as 4096, \"500MB\" or \"8GiB\"";
  }
  if (type == internal::ParamType<AutoInteger>::Name()) {
    return "expected an integer of at least 1 or \"auto\"";
  }
  if (type == internal::ParamType<AutoNumber>::Name()) {
    return "expected a number of at least 0 or \"auto\"";
  }
  *storage = absl::StrCat("expected ", type);
  if (!(absl::StartsWith(type, "list") && value.TypeName() == "list")) {
    absl::StrAppend(storage, ", not ", value.TypeName());
  }
  return *storage;
}

// Whether `value`, which `options` has read, satisfies the constraint.
bool MeetsConstraint(const internal::ParamField& field,
                     const ConfigValue& value, const void* options) {
  const Constraint& constraint = field.info.constraint;
  if (!constraint.holds) {
    return true;
  }
  if (value.As<std::string>() == nullptr || field.info.type == "string") {
    return constraint.holds(value);
  }
  // "8GiB" has become a number, and bounds do not concern "auto".
  const ConfigValue read = field.write(options);
  return read.As<std::string>() != nullptr || constraint.holds(read);
}

absl::Status ParseField(const internal::ParamField& field,
                        const ConfigValue& value, void* options) {
  const ParamInfo& info = field.info;
  const auto error = [&](absl::string_view reason) {
    return ConfigError(absl::StrCat(value.origin(), ": ", info.name, " = ",
                                    Excerpt(value.ToString()), ": ", reason));
  };
  if (!field.read(value, options)) {
    std::string storage;
    return error(Expectation(info.type, value, &storage));
  }
  if (!IsFinite(value)) {
    return error("must be finite");
  }
  if (!MeetsConstraint(field, value, options)) {
    std::string hint;
    if (const std::string* text = value.As<std::string>()) {
      std::vector<std::string> choices;
      for (const ConfigValue& good : info.constraint.good) {
        if (const std::string* choice = good.As<std::string>()) {
          choices.push_back(*choice);
        }
      }
      hint = DidYouMean(*text, choices);
    }
    return error(absl::StrCat("must be ", info.constraint.text, hint));
  }
  return absl::OkStatus();
}

template <typename T>
bool ReadScalar(const ConfigValue& value, T* out) {
  const T* scalar = value.As<T>();
  if (scalar == nullptr) {
    return false;
  }
  *out = *scalar;
  return true;
}

template <typename T>
bool ReadList(const ConfigValue& value, std::vector<T>* out) {
  const auto* array = value.As<ConfigValue::Array>();
  if (array == nullptr) {
    return false;
  }
  std::vector<T> list;
  for (const ConfigValue& element : *array) {
    T item{};
    if (!internal::ParamType<T>::Read(element, &item)) {
      return false;
    }
    list.push_back(std::move(item));
  }
  *out = std::move(list);
  return true;
}

template <typename T>
ConfigValue WriteList(const std::vector<T>& list) {
  ConfigValue::Array array;
  for (const T& item : list) {
    array.push_back(internal::ParamType<T>::Write(item));
  }
  return ConfigValue(std::move(array));
}

struct ByteUnit {
  absl::string_view name;
  int64_t bytes;
};

constexpr ByteUnit kByteUnits[] = {
    {"", 1},
    {"b", 1},
    {"kb", 1000},
    {"mb", 1000 * 1000},
    {"gb", 1000 * 1000 * 1000},
    {"tb", int64_t{1000} * 1000 * 1000 * 1000},
    {"kib", int64_t{1} << 10},
    {"mib", int64_t{1} << 20},
    {"gib", int64_t{1} << 30},
    {"tib", int64_t{1} << 40},
};

std::optional<int64_t> ParseBytes(absl::string_view text) {
  size_t digits = 0;
  while (digits < text.size() && absl::ascii_isdigit(text[digits])) {
    ++digits;
  }
  int64_t number = 0;
  if (!absl::SimpleAtoi(text.substr(0, digits), &number)) {
    return std::nullopt;
  }
  const std::string unit = absl::AsciiStrToLower(
      absl::StripLeadingAsciiWhitespace(text.substr(digits)));
  for (const ByteUnit& known : kByteUnits) {
    if (unit == known.name) {
      if (number > std::numeric_limits<int64_t>::max() / known.bytes) {
        return std::nullopt;
      }
      return number * known.bytes;
    }
  }
  return std::nullopt;
}

}  // namespace

Constraint AtLeast(double low) {
  return Within({.low = low, .low_closed = true},
                absl::StrCat("at least ", BoundText(low)));
}

Constraint GreaterThan(double low) {
  return Within({.low = low}, absl::StrCat("greater than ", BoundText(low)));
}

Constraint InClosed(double low, double high) {
  return Within(
      {.low = low, .low_closed = true, .high = high, .high_closed = true},
      IntervalText("[", low, high, "]"));
}

Constraint InHalfOpen(double low, double high) {
  return Within({.low = low, .low_closed = true, .high = high},
                IntervalText("[", low, high, ")"));
}

Constraint InLeftOpen(double low, double high) {
  return Within({.low = low, .high = high, .high_closed = true},
                IntervalText("(", low, high, "]"));
}

Constraint InOpen(double low, double high) {
  return Within({.low = low, .high = high}, IntervalText("(", low, high, ")"));
}

Constraint OneOf(std::vector<std::string> choices) {
  Constraint constraint;
  constraint.text = absl::StrCat("one of ", absl::StrJoin(choices, ", "));
  for (const std::string& choice : choices) {
    constraint.good.emplace_back(choice);
  }
  constraint.bad.emplace_back("no such choice");
  constraint.holds = [choices = std::move(choices)](const ConfigValue& value) {
    const auto known = [&](const ConfigValue& element) {
      const std::string* text = element.As<std::string>();
      return text != nullptr &&
             std::find(choices.begin(), choices.end(), *text) != choices.end();
    };
    const auto* array = value.As<ConfigValue::Array>();
    return array == nullptr ? known(value)
                            : std::all_of(array->begin(), array->end(), known);
  };
  return constraint;
}

namespace internal {

const char* ParamType<bool>::Name() { return "boolean"; }
bool ParamType<bool>::Read(const ConfigValue& value, bool* out) {
  return ReadScalar(value, out);
}
ConfigValue ParamType<bool>::Write(const bool& value) {
  return ConfigValue(value);
}

const char* ParamType<int64_t>::Name() { return "integer"; }
bool ParamType<int64_t>::Read(const ConfigValue& value, int64_t* out) {
  return ReadScalar(value, out);
}
ConfigValue ParamType<int64_t>::Write(const int64_t& value) {
  return ConfigValue(value);
}

const char* ParamType<double>::Name() { return "number"; }
bool ParamType<double>::Read(const ConfigValue& value, double* out) {
  if (const int64_t* integer = value.As<int64_t>()) {
    *out = static_cast<double>(*integer);
    return true;
  }
  return ReadScalar(value, out);
}
ConfigValue ParamType<double>::Write(const double& value) {
  return ConfigValue(value);
}

const char* ParamType<std::string>::Name() { return "string"; }
bool ParamType<std::string>::Read(const ConfigValue& value, std::string* out) {
  return ReadScalar(value, out);
}
ConfigValue ParamType<std::string>::Write(const std::string& value) {
  return ConfigValue(value);
}

const char* ParamType<std::vector<int64_t>>::Name() {
  return "list of integers";
}
bool ParamType<std::vector<int64_t>>::Read(const ConfigValue& value,
                                           std::vector<int64_t>* out) {
  return ReadList(value, out);
}
ConfigValue ParamType<std::vector<int64_t>>::Write(
    const std::vector<int64_t>& value) {
  return WriteList(value);
}

const char* ParamType<std::vector<double>>::Name() { return "list of numbers"; }
bool ParamType<std::vector<double>>::Read(const ConfigValue& value,
                                          std::vector<double>* out) {
  return ReadList(value, out);
}
ConfigValue ParamType<std::vector<double>>::Write(
    const std::vector<double>& value) {
  return WriteList(value);
}

const char* ParamType<std::vector<std::string>>::Name() {
  return "list of strings";
}
bool ParamType<std::vector<std::string>>::Read(const ConfigValue& value,
                                               std::vector<std::string>* out) {
  return ReadList(value, out);
}
ConfigValue ParamType<std::vector<std::string>>::Write(
    const std::vector<std::string>& value) {
  return WriteList(value);
}

const char* ParamType<AutoInteger>::Name() { return "integer or \"auto\""; }
bool ParamType<AutoInteger>::Read(const ConfigValue& value, AutoInteger* out) {
  if (const std::string* text = value.As<std::string>()) {
    *out = AutoInteger{};
    return *text == "auto";
  }
  return ReadScalar(value, &out->value) && out->value >= 1;
}
ConfigValue ParamType<AutoInteger>::Write(const AutoInteger& value) {
  return value.is_auto() ? ConfigValue("auto") : ConfigValue(value.value);
}

const char* ParamType<AutoNumber>::Name() { return "number or \"auto\""; }
bool ParamType<AutoNumber>::Read(const ConfigValue& value, AutoNumber* out) {
  if (const std::string* text = value.As<std::string>()) {
    out->value = -1;
    return *text == "auto";
  }
  return ParamType<double>::Read(value, &out->value) && out->value >= 0;
}
ConfigValue ParamType<AutoNumber>::Write(const AutoNumber& value) {
  return value.is_auto() ? ConfigValue("auto") : ConfigValue(value.value);
}

const char* ParamType<ByteCount>::Name() { return "bytes"; }
bool ParamType<ByteCount>::Read(const ConfigValue& value, ByteCount* out) {
  if (const std::string* text = value.As<std::string>()) {
    const std::optional<int64_t> bytes = ParseBytes(*text);
    out->value = bytes.value_or(0);
    return bytes.has_value();
  }
  return ReadScalar(value, &out->value) && out->value >= 0;
}
ConfigValue ParamType<ByteCount>::Write(const ByteCount& value) {
  return ConfigValue(value.value);
}

const char* ParamType<ConfigTable>::Name() { return "table"; }
bool ParamType<ConfigTable>::Read(const ConfigValue& value, ConfigTable* out) {
  return ReadScalar(value, out);
}
ConfigValue ParamType<ConfigTable>::Write(const ConfigTable& value) {
  return ConfigValue(value);
}

absl::Status ParseFields(const std::vector<ParamField>& fields,
                         const ConfigTable& table, void* options) {
  for (const auto& [key, value] : table.values()) {
    const auto field = std::find_if(
        fields.begin(), fields.end(),
        [&, &key = key](const auto& f) { return f.info.name == key; });
    if (field == fields.end()) {
      std::vector<std::string> names;
      for (const ParamField& known : fields) {
        names.push_back(known.info.name);
      }
      return UnknownKeyError(value.origin(), key, names);
    }
    FEDLB_RETURN_IF_ERROR(ParseField(*field, value, options));
  }
  return absl::OkStatus();
}

}  // namespace internal
}  // namespace fedlb
