// Log messages on their way to whoever shows or stores them.

#ifndef FEDLB_LOGGER_H_
#define FEDLB_LOGGER_H_

#include "absl/strings/string_view.h"
#include "fedlb/export.h"

namespace fedlb {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Thread-safe. Libraries log through the context they are given and never
// print; the command line decides where a message goes.
class FEDLB_API Logger {
 public:
  virtual ~Logger() = default;
  virtual void Log(LogLevel level, absl::string_view message) = 0;

  void Info(absl::string_view message) { Log(LogLevel::kInfo, message); }
  void Warning(absl::string_view message) { Log(LogLevel::kWarning, message); }

  // Drops everything.
  static Logger& Null();
};

}  // namespace fedlb

#endif  // FEDLB_LOGGER_H_
