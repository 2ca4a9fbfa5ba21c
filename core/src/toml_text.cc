#include "toml_text.h"

#include <charconv>
#include <cmath>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fedlb {

std::string TomlKey(absl::string_view key) {
  bool bare = !key.empty();
  for (const char c : key) {
    bare = bare && (absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                    c == '_' || c == '-');
  }
  return bare ? std::string(key) : TomlString(key);
}

std::string TomlString(absl::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        quoted += "\\\"";
        break;
      case '\\':
        quoted += "\\\\";
        break;
      case '\n':
        quoted += "\\n";
        break;
      case '\r':
        quoted += "\\r";
        break;
      case '\t':
        quoted += "\\t";
        break;
      default:
        if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
          absl::StrAppendFormat(&quoted, "\\u%04X",
                                static_cast<unsigned char>(c));
        } else {
          quoted += c;
        }
    }
  }
  quoted += '"';
  return quoted;
}

std::string TomlNumber(double value) {
  if (std::isnan(value)) {
    return "nan";
  }
  if (std::isinf(value)) {
    return value > 0 ? "inf" : "-inf";
  }
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  std::string digits(buffer, end);
  if (digits.find_first_of(".e") == std::string::npos) {
    digits += ".0";
  }
  return digits;
}

std::string Excerpt(absl::string_view text, size_t limit) {
  if (text.size() <= limit) {
    return std::string(text);
  }
  // Not in the middle of a character of several bytes.
  while (limit > 0 &&
         (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80) {
    --limit;
  }
  return absl::StrCat(text.substr(0, limit), "...");
}

bool IsUtf8(absl::string_view text) {
  // The smallest code point that needs 2, 3 or 4 bytes.
  constexpr uint32_t kSmallest[] = {0x80, 0x800, 0x10000};
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    if (lead < 0x80) {
      continue;
    }
    const int following = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (lead < 0xC0 || lead > 0xF7 || text.size() - i < size_t(following)) {
      return false;
    }
    uint32_t code_point = lead & (0x3F >> following);
    for (int k = 0; k < following; ++k) {
      const auto next = static_cast<unsigned char>(text[i++]);
      if ((next & 0xC0) != 0x80) {
        return false;
      }
      code_point = code_point << 6 | (next & 0x3F);
    }
    if (code_point < kSmallest[following - 1] || code_point > 0x10FFFF ||
        (code_point >= 0xD800 && code_point <= 0xDFFF)) {
      return false;
    }
  }
  return true;
}

}  // namespace fedlb
