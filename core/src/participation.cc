#include "fedlb/participation.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "experiment_data.h"
#include "federation.h"
#include "fedlb/client_state_history.h"
#include "fedlb/config.h"
#include "fedlb/status.h"
#include "shared_settings.h"

namespace fedlb {
namespace {

// The configuration that the server's settings and this machine's make.
absl::StatusOr<ExperimentConfig> Combine(const std::string& settings,
                                         const ExperimentConfig& own,
                                         const ComponentRegistry& registry,
                                         Logger& logger) {
  FEDLB_ASSIGN_OR_RETURN(const ConfigTable shared,
                         ParseToml(settings, "server"));
  const CombinedSettings combined =
      CombineSettings(shared, own.resolved, registry);
  if (!combined.overruled.empty()) {
    logger.Warning(absl::StrCat(
        "the server's settings count, and this configuration has others: ",
        absl::StrJoin(combined.overruled, ", ")));
  }
  if (combined.own_dataset) {
    logger.Warning(
        "these clients train on another dataset than the server's: it is dealt "
        "out here as the server deals out its own");
  }
  return ResolveExperiment(combined.settings, registry);
}

}  // namespace

bool IsParticipant(const ExperimentConfig& config) {
  const ConfigTable& transport = config.components.at("transport");
  const ConfigValue* role = transport.Find("role");
  const std::string* text = role == nullptr ? nullptr : role->As<std::string>();
  return text != nullptr && *text == "client";
}

absl::StatusOr<ParticipationProgress> Participate(
    const ExperimentConfig& own, const ComponentRegistry& registry,
    Logger& logger, const ParticipationOptions& options) {
  FEDLB_ASSIGN_OR_RETURN(
      const std::unique_ptr<Transport> transport,
      registry.Create<Transport>(own.components.at("transport"),
                                 MakeContext(own, registry, logger)));
  auto* const remote = dynamic_cast<RemoteTransport*>(transport.get());
  if (remote == nullptr || remote->role() != RemoteTransport::Role::kClient) {
    return ConfigError("[transport] does not make this process a client");
  }
  FEDLB_ASSIGN_OR_RETURN(const FederationTerms terms,
                         remote->Join(options.stop));
  FEDLB_ASSIGN_OR_RETURN(
      const std::unique_ptr<ClientStateHistory> states,
      ClientStateHistory::Open(remote->state_folder(), terms.run_id,
                               remote->clients()));
  absl::StatusOr<ExperimentConfig> config =
      Combine(terms.settings, own, registry, logger);
  if (!config.ok()) {
    return Annotate(config.status(), "the server's settings");
  }
  FEDLB_ASSIGN_OR_RETURN(const std::unique_ptr<Federation> federation,
                         CatchAsStatusOr("federation", [&] {
                           return Federation::Create(*config, registry, logger);
                         }));
  federation->environment.stop = options.stop;
  ServingHost host = {.clients = federation->host.get(),
                      .states = states.get(),
                      .stop = options.stop,
                      .on_progress = options.on_progress};
  absl::StatusOr<ParticipationProgress> progress = remote->Serve(host);
  transport->Close();
  return progress;
}

}  // namespace fedlb
