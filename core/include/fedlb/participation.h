// Taking part, with clients of this process, in a run whose server is
// elsewhere.

#ifndef FEDLB_PARTICIPATION_H_
#define FEDLB_PARTICIPATION_H_

#include <atomic>
#include <functional>

#include "absl/status/statusor.h"
#include "fedlb/experiment_config.h"
#include "fedlb/export.h"
#include "fedlb/logger.h"
#include "fedlb/registry.h"
#include "fedlb/remote_transport.h"

namespace fedlb {

// Whether `config` makes this process a client of a server elsewhere.
FEDLB_API bool IsParticipant(const ExperimentConfig& config);

struct ParticipationOptions {
  const std::atomic<int>* stop = nullptr;  // may be null
  std::function<void(const ParticipationProgress&)> on_progress;
};

// Joins the server that `own` names and does its tasks until it ends the run.
// The server's settings hold for everything that the training depends on; what
// belongs to this machine stays `own`: plugins, device, memory limit, paths,
// permissions, the transport, and the dataset where `own` names another one.
// Settings of `own` that the server overrules are named in a warning.
//
// kConfig: the server's settings do not work here, a missing plugin for one;
// otherwise as RemoteTransport::Join and Serve.
FEDLB_API absl::StatusOr<ParticipationProgress> Participate(
    const ExperimentConfig& own, const ComponentRegistry& registry,
    Logger& logger, const ParticipationOptions& options);

}  // namespace fedlb

#endif  // FEDLB_PARTICIPATION_H_
