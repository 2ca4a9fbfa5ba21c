// A logger that remembers what it was told.

#ifndef FEDLB_TESTS_PLUGINS_RECORDING_LOGGER_H_
#define FEDLB_TESTS_PLUGINS_RECORDING_LOGGER_H_

#include <string>
#include <vector>

#include "fedlb/logger.h"

namespace fedlb {

class RecordingLogger final : public Logger {
 public:
  void Log(LogLevel level, absl::string_view message) override {
    (level == LogLevel::kWarning ? warnings : others).emplace_back(message);
  }

  std::vector<std::string> warnings;
  std::vector<std::string> others;
};

}  // namespace fedlb

#endif  // FEDLB_TESTS_PLUGINS_RECORDING_LOGGER_H_
