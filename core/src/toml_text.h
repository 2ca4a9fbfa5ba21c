// Keys and values spelled as TOML.

#ifndef FEDLB_SRC_TOML_TEXT_H_
#define FEDLB_SRC_TOML_TEXT_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace fedlb {

// `key` bare where TOML allows that, quoted otherwise.
std::string TomlKey(absl::string_view key);

// `text` as a basic string with its quotes. Bytes that are not UTF-8 pass
// through: TOML has no way to write them.
std::string TomlString(absl::string_view text);

// The shortest digits that read back as `value`, always a TOML float: "1.0".
std::string TomlNumber(double value);

// `text` as it goes into a message: the beginning and "..." where it is longer
// than `limit` bytes.
std::string Excerpt(absl::string_view text, size_t limit = 60);

// No overlong forms, no surrogates, nothing above U+10FFFF.
bool IsUtf8(absl::string_view text);

}  // namespace fedlb

#endif  // FEDLB_SRC_TOML_TEXT_H_
