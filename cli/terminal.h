// stderr: log lines and the progress bar.

#ifndef FEDLB_CLI_TERMINAL_H_
#define FEDLB_CLI_TERMINAL_H_

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "fedlb/logger.h"

namespace fedlb::cli {

// How far a command has got.
struct Progress {
  int64_t done = 0;
  int64_t total = 0;
  std::string unit;     // "round"
  std::string details;  // "accuracy 0.8812  12,300 images/s  ETA 0:41"
};

// Writes to stderr. On a terminal progress is one line that is redrawn; into a
// file or a pipe it is a plain line now and then. Thread-safe.
class Terminal final : public Logger {
 public:
  // `lowest` is the least important level that is shown; with kError there is
  // no progress either.
  explicit Terminal(LogLevel lowest);
  ~Terminal() override;

  void Log(LogLevel level, absl::string_view message) override;
  void Error(absl::string_view message) { Log(LogLevel::kError, message); }

  void Show(const Progress& progress);
  // Ends the progress line, so that what follows starts on a line of its own.
  void EndProgress();

  // Every warning so far, shown or not.
  std::vector<std::string> warnings() const;

 private:
  using Clock = std::chrono::steady_clock;

  int Width() const;
  std::string Line(const Progress& progress, int width) const;

  const LogLevel lowest_;
  const bool interactive_;
  const bool color_;
  mutable std::mutex mutex_;
  std::string drawn_;  // the progress line on the screen, or empty
  int64_t last_done_ = -1;
  Clock::time_point last_shown_;
  bool shown_ = false;
  std::vector<std::string> warnings_;
};

// `text` with control characters made visible: what a configuration or a file
// name holds must not steer the terminal. Keeps line ends and tabs.
std::string Printable(absl::string_view text);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_TERMINAL_H_
