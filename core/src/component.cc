#include "fedlb/component.h"

#include "absl/status/status.h"
#include "fedlb/logger.h"

namespace fedlb {
namespace {

class NullLogger final : public Logger {
 public:
  void Log(LogLevel, absl::string_view) override {}
};

}  // namespace

Logger& Logger::Null() {
  static NullLogger logger;
  return logger;
}

Component::~Component() = default;

ComponentState Component::SaveState() const { return {}; }

absl::Status Component::LoadState(const ComponentState& state) {
  if (!state.empty()) {
    return absl::InvalidArgumentError("state for a component without state");
  }
  return absl::OkStatus();
}

}  // namespace fedlb
