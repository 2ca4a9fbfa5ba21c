#include "toml_shape.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

// The scan knows only strings, comments and brackets. It splits the text as
// the parser does up to the first error of syntax, where the parser stops, so
// that what it misjudges afterwards is never reached.
class ShapeScanner {
 public:
  ShapeScanner(absl::string_view text, absl::string_view source)
      : text_(text), source_(source) {}

  absl::Status Scan() {
    while (at_ < text_.size()) {
      switch (text_[at_]) {
        case '#':
          SkipComment();
          continue;
        case '"':
        case '\'':
          SkipString(text_[at_]);
          continue;
        case '.':
          if (++key_parts_ > kMaxTomlKeyParts) {
            return Error(absl::StrCat("a key has more than ", kMaxTomlKeyParts,
                                      " dotted parts"));
          }
          break;
        case '[':
        case '{':
          if (++depth_ > kMaxTomlNesting) {
            return Error(absl::StrCat("values are nested more than ",
                                      kMaxTomlNesting, " deep"));
          }
          key_parts_ = 1;
          break;
        case ']':
        case '}':
          depth_ = std::max(0, depth_ - 1);
          key_parts_ = 1;
          break;
        case '=':
        case ',':
          key_parts_ = 1;
          break;
        case '\n':
          NextLine();
          break;
        default:
          break;
      }
      ++at_;
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Error(absl::string_view reason) const {
    return ConfigError(absl::StrCat(source_, ":", line_, ":",
                                    at_ - line_start_ + 1, ": ", reason));
  }

  void NextLine() {
    key_parts_ = 1;
    ++line_;
    line_start_ = at_ + 1;
  }

  void SkipComment() { at_ = std::min(text_.find('\n', at_), text_.size()); }

  // Two that are part of the string and three that close it.
  static constexpr size_t kMostQuotes = 5;

  // Quotes from `position` on, as many as may belong together.
  size_t QuotesAt(size_t position, char quote) const {
    size_t count = 0;
    while (count < kMostQuotes && position + count < text_.size() &&
           text_[position + count] == quote) {
      ++count;
    }
    return count;
  }

  // From the opening quote to behind the closing one.
  void SkipString(char quote) {
    const size_t opening = QuotesAt(at_, quote);
    if (opening == 2) {  // empty
      at_ += 2;
      return;
    }
    const bool multi_line = opening >= 3;
    at_ += multi_line ? 3 : 1;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\\' && quote == '"') {
        // Of a line break after the backslash, NextLine() must learn.
        at_ += at_ + 1 < text_.size() && text_[at_ + 1] != '\n' ? 2 : 1;
      } else if (c == quote) {
        const size_t closing = QuotesAt(at_, quote);
        if (!multi_line) {
          ++at_;
          return;
        }
        at_ += closing;
        if (closing >= 3) {
          return;
        }
      } else if (c == '\n') {
        if (!multi_line) {
          return;
        }
        const int parts = key_parts_;
        NextLine();
        key_parts_ = parts;
        ++at_;
      } else {
        ++at_;
      }
    }
  }

  const absl::string_view text_;
  const absl::string_view source_;
  size_t at_ = 0;
  size_t line_start_ = 0;
  int64_t line_ = 1;
  int depth_ = 0;
  int key_parts_ = 1;
};

}  // namespace

absl::Status CheckTomlShape(absl::string_view text, absl::string_view source) {
  return ShapeScanner(text, source).Scan();
}

}  // namespace fedlb
