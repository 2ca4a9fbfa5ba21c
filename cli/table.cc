#include "table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fedlb::cli {
namespace {

bool LooksLikeNumber(const std::string& cell) {
  return !cell.empty() &&
         cell.find_first_not_of("0123456789.,+-e%") == std::string::npos;
}

void AddCell(const std::string& cell, size_t width, bool last, bool right,
             std::string& text) {
  const size_t padding = width - std::min(width, cell.size());
  if (right) {
    text.append(padding, ' ');
  }
  text += cell;
  if (!right && !last) {
    text.append(padding, ' ');
  }
  text += last ? "\n" : "  ";
}

}  // namespace

std::string FormatTable(const std::vector<std::string>& header,
                        const std::vector<std::vector<std::string>>& rows) {
  size_t columns = header.size();
  for (const auto& row : rows) {
    columns = std::max(columns, row.size());
  }
  std::vector<size_t> widths(columns, 0);
  std::vector<bool> numbers(columns, !rows.empty());
  for (size_t i = 0; i < header.size(); ++i) {
    widths[i] = header[i].size();
  }
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
      numbers[i] = numbers[i] && (LooksLikeNumber(row[i]) || row[i] == "-");
    }
  }

  std::string text;
  const auto add_row = [&](const std::vector<std::string>& row) {
    for (size_t i = 0; i < row.size(); ++i) {
      AddCell(row[i], widths[i], i + 1 == row.size(), numbers[i], text);
    }
  };
  if (!header.empty()) {
    add_row(header);
  }
  for (const auto& row : rows) {
    add_row(row);
  }
  return text;
}

std::string FormatPairs(
    const std::vector<std::pair<std::string, std::string>>& pairs) {
  size_t width = 0;
  for (const auto& [label, value] : pairs) {
    width = std::max(width, label.size());
  }
  std::string text;
  for (const auto& [label, value] : pairs) {
    AddCell(label, width, /*last=*/false, /*right=*/false, text);
    absl::StrAppend(&text, value, "\n");
  }
  return text;
}

std::string FormatCount(int64_t count) {
  std::string digits = absl::StrCat(count);
  const size_t first = count < 0 ? 1 : 0;
  for (size_t i = digits.size(); i > first + 3;) {
    i -= 3;
    digits.insert(i, 1, ',');
  }
  return digits;
}

std::string FormatBytes(int64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB",
                                                 "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (std::abs(value) >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? absl::StrCat(bytes, " B")
                   : absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string FormatSeconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e12) {
    return "-";
  }
  if (seconds < 60) {
    return absl::StrFormat("%.1f s", seconds);
  }
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) {
    return absl::StrFormat("%d:%02d min", whole / 60, whole % 60);
  }
  return absl::StrFormat("%d:%02d:%02d h", whole / 3600, whole / 60 % 60,
                         whole % 60);
}

std::string FormatNumber(double value, int digits) {
  if (std::isnan(value)) {
    return "-";
  }
  return absl::StrFormat("%.*g", digits, value);
}

}  // namespace fedlb::cli
