#include "unknown_key.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/config_table.h"
#include "fedlb/status.h"
#include "toml_text.h"

namespace fedlb {
namespace {

std::string Hint(absl::string_view word, const std::vector<std::string>& valid,
                 absl::string_view things) {
  const std::string nearest = DidYouMean(word, valid);
  if (!nearest.empty()) {
    return nearest;
  }
  return valid.empty() ? absl::StrCat("; there are no ", things, " here")
                       : absl::StrCat("; valid ", things, ": ",
                                      absl::StrJoin(valid, ", "));
}

}  // namespace

std::string DidYouMean(absl::string_view word,
                       const std::vector<std::string>& candidates) {
  const std::string nearest = NearestName(word, candidates);
  return nearest.empty() ? ""
                         : absl::StrCat(" (did you mean `", nearest, "`?)");
}

absl::Status UnknownKeyError(absl::string_view origin, absl::string_view key,
                             const std::vector<std::string>& valid) {
  // A quoted key may hold anything, line breaks included.
  return ConfigError(absl::StrCat(origin, ": unknown key `",
                                  Excerpt(TomlKey(key)), "`",
                                  Hint(key, valid, "keys")));
}

absl::Status UnknownSectionError(absl::string_view origin,
                                 absl::string_view section,
                                 const std::vector<std::string>& valid) {
  return ConfigError(absl::StrCat(origin, ": unknown section [",
                                  Excerpt(TomlKey(section)), "]",
                                  Hint(section, valid, "sections")));
}

}  // namespace fedlb
