#include "terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fedlb::cli {
namespace {

constexpr std::chrono::milliseconds kRedrawInterval{100};
constexpr std::chrono::seconds kLineInterval{1};
constexpr std::chrono::seconds kSilenceInterval{10};
constexpr char kEraseLine[] = "\r\x1b[K";

bool IsSet(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

bool IsInteractive() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && term != nullptr &&
         absl::string_view(term) != "dumb";
}

// Nobody is left to tell when stderr cannot be written.
void WriteStderr(const std::string& bytes) {
  size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t count =
        write(STDERR_FILENO, bytes.data() + written, bytes.size() - written);
    if (count < 0 && errno != EINTR) {
      return;
    }
    written += static_cast<size_t>(std::max<ssize_t>(count, 0));
  }
}

struct Prefix {
  const char* text;
  const char* color;
};

Prefix PrefixOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return {"debug: ", "\x1b[2m"};
    case LogLevel::kInfo:
      return {"", ""};
    case LogLevel::kWarning:
      return {"warning: ", "\x1b[1;33m"};
    case LogLevel::kError:
      return {"error: ", "\x1b[1;31m"};
  }
  return {"", ""};
}

}  // namespace

Terminal::Terminal(LogLevel lowest)
    : lowest_(lowest),
      interactive_(IsInteractive()),
      color_(interactive_ && !IsSet("NO_COLOR")) {}

Terminal::~Terminal() { EndProgress(); }

void Terminal::Log(LogLevel level, absl::string_view message) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (level == LogLevel::kWarning) {
    warnings_.emplace_back(message);
  }
  if (level < lowest_) {
    return;
  }
  const Prefix prefix = PrefixOf(level);
  std::string bytes = drawn_.empty() ? "" : kEraseLine;
  if (color_ && *prefix.text != '\0') {
    absl::StrAppend(&bytes, prefix.color, prefix.text, "\x1b[0m");
  } else {
    absl::StrAppend(&bytes, prefix.text);
  }
  absl::StrAppend(&bytes, Printable(message), "\n", drawn_);
  WriteStderr(bytes);
}

void Terminal::Show(const Progress& progress) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (lowest_ > LogLevel::kInfo) {
    return;
  }
  const Clock::time_point now = Clock::now();
  const auto elapsed = now - last_shown_;
  const bool last = progress.done >= progress.total;
  if (interactive_) {
    if (shown_ && !last && elapsed < kRedrawInterval) {
      return;
    }
    drawn_ = Line(progress, Width());
    WriteStderr(absl::StrCat(kEraseLine, drawn_));
  } else {
    const bool moved = progress.done != last_done_;
    if (shown_ && !(last && moved) && elapsed < kSilenceInterval &&
        !(moved && elapsed >= kLineInterval)) {
      return;
    }
    WriteStderr(absl::StrCat(Line(progress, 0), "\n"));
  }
  shown_ = true;
  last_shown_ = now;
  last_done_ = progress.done;
}

void Terminal::EndProgress() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!drawn_.empty()) {
    WriteStderr("\n");
    drawn_.clear();
  }
}

std::vector<std::string> Terminal::warnings() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return warnings_;
}

int Terminal::Width() const {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
    return 80;
  }
  return size.ws_col;
}

// Without a width: for a file, no bar.
std::string Terminal::Line(const Progress& progress, int width) const {
  constexpr int kBarWidth = 24;
  const std::string count =
      absl::StrCat(progress.unit, " ", progress.done, "/", progress.total);
  if (width <= 0) {
    return absl::StrCat(count, "  ", progress.details);
  }
  std::string line;
  const int needed =
      static_cast<int>(count.size() + progress.details.size()) + 5;
  if (width > needed + kBarWidth) {
    const double share =
        progress.total > 0
            ? std::min(1.0, static_cast<double>(progress.done) / progress.total)
            : 0.0;
    const int filled = static_cast<int>(share * kBarWidth);
    line = absl::StrCat("[", std::string(filled, '='),
                        std::string(kBarWidth - filled, ' '), "] ");
  }
  absl::StrAppend(&line, count, "  ", progress.details);
  // A line that wraps cannot be erased again.
  line.resize(std::min(line.size(), static_cast<size_t>(width - 1)));
  return line;
}

std::string Printable(absl::string_view text) {
  std::string printable;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f) {
      absl::StrAppendFormat(&printable, "\\x%02x", byte);
    } else {
      printable += c;
    }
  }
  return printable;
}

}  // namespace fedlb::cli
