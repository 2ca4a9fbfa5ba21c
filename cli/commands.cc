#include "commands.h"

#include <csignal>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "aggregate_command.h"
#include "certs_command.h"
#include "config_command.h"
#include "data_command.h"
#include "doctor_command.h"
#include "evaluate_command.h"
#include "fedlb/export.h"
#include "fedlb/memory.h"
#include "fedlb/status.h"
#include "plugins_command.h"
#include "profile_command.h"
#include "report_command.h"
#include "sweep_command.h"
#include "teacher_fit_command.h"
#include "train_command.h"

namespace fedlb::cli {
namespace {

using AnyRunFunction = std::function<absl::Status(
    const std::any& flags, CommandContext& context, CommandResult& result)>;

template <typename Flags>
AnyRunFunction Bind(RunFunction<Flags> run) {
  return [run](const std::any& flags, CommandContext& context,
               CommandResult& result) {
    return run(*std::any_cast<const std::shared_ptr<Flags>&>(flags), context,
               result);
  };
}

const std::map<std::string, AnyRunFunction>& Commands() {
  static const auto& commands = *new std::map<std::string, AnyRunFunction>{
      {"aggregate", Bind<AggregateFlags>(RunAggregate)},
      {"certs", Bind<CertsFlags>(RunCerts)},
      {"config new", Bind<ConfigNewFlags>(RunConfigNew)},
      {"config show", Bind<ConfigShowFlags>(RunConfigShow)},
      {"data info", Bind<DataInfoFlags>(RunDataInfo)},
      {"data partition", Bind<DataPartitionFlags>(RunDataPartition)},
      {"doctor", Bind<DoctorFlags>(RunDoctor)},
      {"evaluate", Bind<EvaluateFlags>(RunEvaluate)},
      {"plugins check", Bind<PluginsCheckFlags>(RunPluginsCheck)},
      {"plugins describe", Bind<PluginsDescribeFlags>(RunPluginsDescribe)},
      {"plugins list", Bind<PluginsListFlags>(RunPluginsList)},
      {"plugins new", Bind<PluginsNewFlags>(RunPluginsNew)},
      {"profile", Bind<ProfileFlags>(RunProfile)},
      {"report", Bind<ReportFlags>(RunReport)},
      {"sweep", Bind<SweepFlags>(RunSweep)},
      {"teacher-fit", Bind<TeacherFitFlags>(RunTeacherFit)},
      {"train", Bind<TrainFlags>(RunTrain)},
  };
  return commands;
}

struct FailureName {
  int exit_code;
  const char* name;
};

FailureName NameOf(Failure failure, int stop_signal) {
  switch (failure) {
    case Failure::kRuntime:
      return {1, "runtime"};
    case Failure::kUsage:
      return {2, "usage"};
    case Failure::kConfig:
      return {3, "config"};
    case Failure::kInputFile:
      return {4, "input_file"};
    case Failure::kOutOfMemory:
      return {5, "out_of_memory"};
    case Failure::kPeerLost:
      return {6, "peer_lost"};
    case Failure::kDeadline:
      return {7, "deadline"};
    case Failure::kPluginRefused:
      return {8, "plugin_refused"};
    case Failure::kDiverged:
      return {9, "diverged"};
    case Failure::kStorage:
      return {10, "storage"};
    case Failure::kInterrupted:
      return {128 + (stop_signal != 0 ? stop_signal : SIGINT), "interrupted"};
  }
  return {1, "runtime"};
}

}  // namespace
}  // namespace fedlb::cli

extern "C" FEDLB_API void fedlb_run_command(
    const fedlb::cli::ParsedCommand& command,
    fedlb::cli::CommandContext& context, fedlb::cli::CommandOutcome& outcome) {
  // Before the first tensor, or that one would be freed by an allocator which
  // has never seen it.
  fedlb::InstallCachingAllocator();
  const absl::Status status = fedlb::CatchAsStatus(command.name, [&] {
    return fedlb::cli::Commands().at(command.name)(command.flags, context,
                                                   outcome.result);
  });
  if (status.ok()) {
    return;
  }
  const fedlb::cli::FailureName failure =
      fedlb::cli::NameOf(fedlb::FailureOf(status), context.stop_signal.load());
  outcome.exit_code = failure.exit_code;
  outcome.error_code = failure.name;
  outcome.error_message = std::string(status.message());
}
