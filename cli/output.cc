#include "output.h"

#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstddef>
#include <utility>

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kSchema[] = "fedlb.result/1";

std::string Dump(const Json& json) {
  // File names and configurations may hold bytes that are not UTF-8.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The records of the result: an array within `data`, or `data` itself.
std::vector<Json> RecordsOf(const CommandResult& result) {
  if (result.records.empty()) {
    return {result.data};
  }
  const auto found = result.data.find(result.records);
  if (found == result.data.end() || !found->is_array()) {
    return {};
  }
  return {found->begin(), found->end()};
}

// Appends the leaves of `value` under names joined with dots. A list is one
// cell, written as JSON.
void Flatten(const std::string& name, const Json& value,
             std::vector<std::pair<std::string, Json>>& cells) {
  if (!value.is_object()) {
    cells.emplace_back(name, value);
    return;
  }
  for (const auto& [key, child] : value.items()) {
    Flatten(name.empty() ? key : name + "." + key, child, cells);
  }
}

std::string CsvCell(const Json& value) {
  if (value.is_null() ||
      (value.is_number_float() && !std::isfinite(value.get<double>()))) {
    return "";
  }
  const std::string text =
      value.is_string() ? value.get<std::string>() : Dump(value);
  if (text.find_first_of(",\"\r\n") == std::string::npos) {
    return text;
  }
  std::string quoted = "\"";
  for (const char c : text) {
    quoted += c;
    if (c == '"') {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string FormatCsv(const std::vector<Json>& records) {
  std::vector<std::string> columns;
  std::vector<std::vector<std::pair<std::string, Json>>> rows;
  for (const Json& record : records) {
    rows.emplace_back();
    Flatten("", record, rows.back());
    for (const auto& [name, value] : rows.back()) {
      bool known = false;
      for (const std::string& column : columns) {
        known = known || column == name;
      }
      if (!known) {
        columns.push_back(name);
      }
    }
  }

  std::string csv;
  const auto add_line = [&csv](const std::vector<std::string>& cells) {
    for (size_t i = 0; i < cells.size(); ++i) {
      csv += (i == 0 ? "" : ",") + cells[i];
    }
    csv += "\n";
  };
  std::vector<std::string> line;
  for (const std::string& column : columns) {
    line.push_back(CsvCell(column));
  }
  add_line(line);
  for (const auto& row : rows) {
    line.clear();
    for (const std::string& column : columns) {
      line.emplace_back();
      for (const auto& [name, value] : row) {
        if (name == column) {
          line.back() = CsvCell(value);
        }
      }
    }
    add_line(line);
  }
  return csv;
}

Json Envelope(const std::string& command, const CommandOutcome& outcome,
              const std::vector<std::string>& warnings) {
  Json envelope;
  envelope["schema"] = kSchema;
  envelope["command"] = command;
  const bool interrupted = outcome.error_code == "interrupted";
  envelope["status"] = outcome.error_code.empty() ? "ok"
                       : interrupted              ? "interrupted"
                                                  : "error";
  envelope["exit_code"] = outcome.exit_code;
  envelope["data"] = outcome.result.data;
  envelope["warnings"] = warnings;
  if (!outcome.error_code.empty()) {
    envelope["error"] = {{"code", outcome.error_code},
                         {"message", outcome.error_message}};
  }
  return envelope;
}

}  // namespace

std::string FormatResult(OutputFormat format, const std::string& command,
                         const CommandOutcome& outcome,
                         const std::vector<std::string>& warnings) {
  switch (format) {
    case OutputFormat::kTable:
      return outcome.result.text;
    case OutputFormat::kJson:
      return Dump(Envelope(command, outcome, warnings)) + "\n";
    case OutputFormat::kJsonl:
    case OutputFormat::kCsv:
      break;
  }
  // A failed command has no records; its message is on stderr.
  if (!outcome.error_code.empty()) {
    return "";
  }
  const std::vector<Json> records = RecordsOf(outcome.result);
  if (format == OutputFormat::kCsv) {
    return FormatCsv(records);
  }
  std::string lines;
  for (const Json& record : records) {
    lines += Dump(record) + "\n";
  }
  return lines;
}

int WriteStdout(const std::string& bytes) {
  size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t count =
        write(STDOUT_FILENO, bytes.data() + written, bytes.size() - written);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return errno;
    }
    written += static_cast<size_t>(count);
  }
  return 0;
}

}  // namespace fedlb::cli
