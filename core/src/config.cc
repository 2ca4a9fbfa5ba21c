#include "fedlb/config.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include <fcntl.h>
#include <toml++/toml.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "fedlb/status.h"
#include "toml_shape.h"
#include "toml_text.h"

namespace fedlb {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 20;

std::string PositionOf(absl::string_view source,
                       const toml::source_region& at) {
  return absl::StrCat(source, ":", at.begin.line, ":", at.begin.column);
}

absl::StatusOr<ConfigTable> ConvertTable(const toml::table& table,
                                         absl::string_view source, int depth);

// `what` names the value in messages.
absl::StatusOr<ConfigValue> ConvertValue(const toml::node& node,
                                         std::string origin,
                                         absl::string_view what,
                                         absl::string_view source, int depth) {
  if (depth > kMaxTomlNesting) {
    return ConfigError(absl::StrCat(origin, ": tables and lists are nested ",
                                    "more than ", kMaxTomlNesting, " deep"));
  }
  switch (node.type()) {
    case toml::node_type::boolean:
      return ConfigValue(node.as_boolean()->get(), std::move(origin));
    case toml::node_type::integer:
      return ConfigValue(node.as_integer()->get(), std::move(origin));
    case toml::node_type::floating_point:
      return ConfigValue(node.as_floating_point()->get(), std::move(origin));
    case toml::node_type::string:
      return ConfigValue(node.as_string()->get(), std::move(origin));
    case toml::node_type::array: {
      ConfigValue::Array array;
      for (const toml::node& element : *node.as_array()) {
        FEDLB_ASSIGN_OR_RETURN(
            ConfigValue value,
            ConvertValue(element, PositionOf(source, element.source()), what,
                         source, depth + 1));
        array.push_back(std::move(value));
      }
      return ConfigValue(std::move(array), std::move(origin));
    }
    case toml::node_type::table: {
      FEDLB_ASSIGN_OR_RETURN(ConfigTable table,
                             ConvertTable(*node.as_table(), source, depth + 1));
      return ConfigValue(std::move(table), std::move(origin));
    }
    default:
      return ConfigError(absl::StrCat(origin, ": ", what,
                                      ": dates and times have no use here; ",
                                      "put quotes around a string"));
  }
}

absl::StatusOr<ConfigTable> ConvertTable(const toml::table& table,
                                         absl::string_view source, int depth) {
  ConfigTable converted;
  converted.set_origin(PositionOf(source, table.source()));
  for (const auto& [key, node] : table) {
    // A table stands where its header does; any other value where its key does.
    const toml::source_region& at =
        node.is_table() ? node.source() : key.source();
    FEDLB_ASSIGN_OR_RETURN(
        ConfigValue value,
        ConvertValue(node, PositionOf(source, at),
                     TomlKey({key.data(), key.length()}), source, depth));
    converted.Set({key.data(), key.length()}, std::move(value));
  }
  return converted;
}

absl::StatusOr<std::string> ReadConfigFile(const std::string& path) {
  const auto error = [&](absl::string_view reason) {
    return ConfigError(absl::StrCat(path, ": ", reason));
  };
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return error(errno == ENOENT
                     ? "no such file"
                     : absl::StrCat("cannot be opened: ", strerror(errno)));
  }
  // Not by the file's size: it may be a pipe. One byte more than allowed tells
  // a file that is too long.
  std::string text(kMaxBytes + 1, '\0');
  size_t length = 0;
  ssize_t got = 1;
  while (got != 0 && length < text.size()) {
    got = read(fd, text.data() + length, text.size() - length);
    if (got < 0 && errno != EINTR) {
      const int cause = errno;
      close(fd);
      return error(cause == EISDIR
                       ? "is a directory, not a configuration file"
                       : absl::StrCat("cannot be read: ", strerror(cause)));
    }
    length += std::max<ssize_t>(got, 0);
  }
  close(fd);
  if (length > kMaxBytes) {
    return error("larger than 1 MiB: not a configuration file");
  }
  text.resize(length);
  return text;
}

// `layer` over `base`: tables are merged, everything else is replaced.
void Merge(ConfigTable& base, const ConfigTable& layer) {
  if (base.origin().empty()) {
    base.set_origin(layer.origin());
  }
  for (const auto& [key, value] : layer.values()) {
    const ConfigValue* old = base.Find(key);
    const auto* table = value.As<ConfigTable>();
    if (old != nullptr && old->As<ConfigTable>() != nullptr &&
        table != nullptr) {
      Merge(base.Subtable(key), *table);
    } else {
      base.Set(key, value);
    }
  }
}

// Notes at the values of `base` which component they were written for, where
// `layer` names another one.
void NoteReplacedComponents(const ConfigTable& layer, ConfigTable& base) {
  constexpr absl::string_view kNameKey = "name";
  for (const auto& [section, value] : layer.values()) {
    const ConfigValue* held = base.Find(section);
    const auto* table = value.As<ConfigTable>();
    if (table == nullptr || table->Find(kNameKey) == nullptr ||
        held == nullptr || held->As<ConfigTable>() == nullptr) {
      continue;
    }
    ConfigTable& earlier = base.Subtable(section);
    const ConfigValue* name = earlier.Find(kNameKey);
    if (name != nullptr && *name == *table->Find(kNameKey)) {
      continue;
    }
    const auto* text = name != nullptr ? name->As<std::string>() : nullptr;
    const std::string component = text != nullptr ? *text : "";
    const ConfigTable::Map settings = earlier.values();
    for (auto [key, setting] : settings) {
      if (key != kNameKey && !setting.written_for().has_value()) {
        setting.set_written_for(component);
        earlier.Set(key, std::move(setting));
      }
    }
  }
}

void SetOriginOfAll(ConfigTable& table, const std::string& origin);

void SetOriginOfAll(ConfigValue& value, const std::string& origin) {
  value.set_origin(origin);
  if (auto* array = std::get_if<ConfigValue::Array>(&value.data())) {
    for (ConfigValue& element : *array) {
      SetOriginOfAll(element, origin);
    }
  } else if (auto* table = std::get_if<ConfigTable>(&value.data())) {
    SetOriginOfAll(*table, origin);
  }
}

void SetOriginOfAll(ConfigTable& table, const std::string& origin) {
  table.set_origin(origin);
  const ConfigTable::Map values = table.values();
  for (auto [key, value] : values) {
    SetOriginOfAll(value, origin);
    table.Set(key, std::move(value));
  }
}

// What somebody wrote on a command line: TOML, or a string without quotes.
ConfigValue ParseWritten(absl::string_view text, const std::string& origin) {
  ConfigValue value{std::string(text)};
  const absl::StatusOr<ConfigTable> parsed =
      ParseToml(absl::StrCat("value = ", text), origin);
  // More than one key: the text had line breaks and keys of its own.
  if (parsed.ok() && parsed->values().size() == 1) {
    value = parsed->values().begin()->second;
  }
  SetOriginOfAll(value, origin);
  return value;
}

// The table that holds `text` at the path `parts`.
absl::StatusOr<ConfigTable> Assignment(const std::vector<std::string>& parts,
                                       absl::string_view text,
                                       const std::string& origin,
                                       absl::string_view usage) {
  const bool has_empty_part =
      std::any_of(parts.begin(), parts.end(),
                  [](const std::string& part) { return part.empty(); });
  if (has_empty_part || parts.size() > kMaxTomlKeyParts) {
    return ConfigError(absl::StrCat(origin, ": write ", usage));
  }
  if (!IsUtf8(origin) || !IsUtf8(text)) {
    return ConfigError(absl::StrCat(
        IsUtf8(origin) ? origin : std::string("a key on the command line"),
        ": not UTF-8"));
  }
  ConfigTable root;
  ConfigTable* table = &root;
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    table = &table->Subtable(parts[i]);
  }
  table->Set(parts.back(), ParseWritten(text, origin));
  SetOriginOfAll(root, origin);
  return root;
}

absl::StatusOr<ConfigTable> EnvironmentLayer() {
  constexpr absl::string_view kPrefix = "FEDLB_SET__";
  constexpr absl::string_view kUsage = "FEDLB_SET__section__key=value";
  std::vector<absl::string_view> variables;
  for (char** variable = environ; variable != nullptr && *variable != nullptr;
       ++variable) {
    if (absl::StartsWith(*variable, kPrefix)) {
      variables.push_back(*variable);
    } else if (absl::StartsWith(*variable, "FEDLB_SET")) {
      const std::pair<std::string, std::string> halves =
          absl::StrSplit(*variable, absl::MaxSplits('=', 1));
      return ConfigError(absl::StrCat(Excerpt(halves.first), ": write ", kUsage,
                                      ", with two underscores each time"));
    }
  }
  // The environment has no order that a user could rely on.
  std::sort(variables.begin(), variables.end());
  ConfigTable layer;
  for (const absl::string_view variable : variables) {
    const std::pair<std::string, std::string> halves =
        absl::StrSplit(variable, absl::MaxSplits('=', 1));
    FEDLB_ASSIGN_OR_RETURN(
        const ConfigTable assignment,
        Assignment(
            absl::StrSplit(absl::StripPrefix(halves.first, kPrefix), "__"),
            halves.second, Excerpt(halves.first), kUsage));
    Merge(layer, assignment);
  }
  return layer;
}

absl::StatusOr<ConfigTable> SetLayer(const std::string& set) {
  constexpr absl::string_view kUsage = "--set section.key=value";
  const std::pair<std::string, std::string> halves =
      absl::StrSplit(set, absl::MaxSplits('=', 1));
  const std::string key(absl::StripAsciiWhitespace(halves.first));
  const std::string origin = absl::StrCat("--set ", Excerpt(key));
  if (!absl::StrContains(set, '=')) {
    return ConfigError(absl::StrCat(origin, ": no value; write ", kUsage));
  }
  return Assignment(absl::StrSplit(key, '.'),
                    absl::StripAsciiWhitespace(halves.second), origin, kUsage);
}

class TomlPrinter {
 public:
  TomlPrinter(bool with_origins, const std::vector<std::string>& order)
      : with_origins_(with_origins), order_(order) {}

  // Prints what is in `table`, whose header has been printed.
  void Print(const ConfigTable& table, const std::string& path, int depth) {
    std::vector<const ConfigTable::Map::value_type*> entries;
    for (const auto& entry : table.values()) {
      entries.push_back(&entry);
    }
    std::stable_sort(entries.begin(), entries.end(),
                     [this](const auto* a, const auto* b) {
                       return Rank(a->first) < Rank(b->first);
                     });
    // Values first: behind a header they would belong to its table.
    for (const auto* entry : entries) {
      if (!HasHeader(entry->second, depth)) {
        absl::StrAppend(&text_, TomlKey(entry->first), " = ",
                        entry->second.ToString());
        EndLine(entry->second.origin());
      }
    }
    for (const auto* entry : entries) {
      if (HasHeader(entry->second, depth)) {
        const ConfigTable& inner = *entry->second.As<ConfigTable>();
        const std::string inner_path =
            absl::StrCat(path, path.empty() ? "" : ".", TomlKey(entry->first));
        absl::StrAppend(&text_, text_.empty() ? "" : "\n", "[", inner_path,
                        "]");
        EndLine(inner.origin());
        Print(inner, inner_path, depth + 1);
      }
    }
  }

  std::string Take() { return std::move(text_); }

 private:
  size_t Rank(const std::string& key) const {
    return std::find(order_.begin(), order_.end(), key) - order_.begin();
  }

  // Tables too deep for a dotted header are printed inline.
  static bool HasHeader(const ConfigValue& value, int depth) {
    return value.As<ConfigTable>() != nullptr && depth < kMaxTomlKeyParts;
  }

  void EndLine(const std::string& origin) {
    if (with_origins_ && !origin.empty()) {
      // The name of a file may hold what a comment must not.
      const bool utf8 = IsUtf8(origin);
      std::string comment = origin;
      for (char& c : comment) {
        if (absl::ascii_iscntrl(static_cast<unsigned char>(c)) ||
            (!utf8 && !absl::ascii_isascii(static_cast<unsigned char>(c)))) {
          c = '?';
        }
      }
      absl::StrAppend(&text_, "  # ", comment);
    }
    text_ += '\n';
  }

  const bool with_origins_;
  const std::vector<std::string>& order_;
  std::string text_;
};

}  // namespace

absl::StatusOr<ConfigTable> ParseToml(absl::string_view text,
                                      const std::string& source) {
  if (text.size() > kMaxBytes) {
    return ConfigError(absl::StrCat(source, ": larger than 1 MiB"));
  }
  FEDLB_RETURN_IF_ERROR(CheckTomlShape(text, source));
  try {
    const toml::table table =
        toml::parse(std::string_view(text.data(), text.size()), source);
    FEDLB_ASSIGN_OR_RETURN(ConfigTable converted,
                           ConvertTable(table, source, 0));
    converted.set_origin(source);
    return converted;
  } catch (const toml::parse_error& error) {
    const std::string_view reason = error.description();
    return ConfigError(
        absl::StrCat(PositionOf(source, error.source()), ": ",
                     Excerpt({reason.data(), reason.size()}, 200)));
  } catch (const std::exception& error) {
    return ConfigError(absl::StrCat(source, ": ", error.what()));
  }
}

absl::StatusOr<ConfigTable> LoadConfig(const ConfigLayers& layers) {
  ConfigTable merged;
  const auto add_layer = [&merged](const ConfigTable& layer) {
    NoteReplacedComponents(layer, merged);
    Merge(merged, layer);
  };
  for (const std::string& path : layers.files) {
    FEDLB_ASSIGN_OR_RETURN(const std::string text, ReadConfigFile(path));
    FEDLB_ASSIGN_OR_RETURN(const ConfigTable layer, ParseToml(text, path));
    add_layer(layer);
  }
  if (layers.environment) {
    FEDLB_ASSIGN_OR_RETURN(const ConfigTable layer, EnvironmentLayer());
    add_layer(layer);
  }
  // All of a command line is one layer: the order of a name and of the settings
  // that belong to it does not matter.
  ConfigTable command_line;
  for (const std::string& set : layers.sets) {
    FEDLB_ASSIGN_OR_RETURN(const ConfigTable assignment, SetLayer(set));
    Merge(command_line, assignment);
  }
  add_layer(command_line);
  return merged;
}

std::string PrintToml(const ConfigTable& table, bool with_origins,
                      const std::vector<std::string>& order) {
  TomlPrinter printer(with_origins, order);
  printer.Print(table, "", 0);
  return printer.Take();
}

}  // namespace fedlb
