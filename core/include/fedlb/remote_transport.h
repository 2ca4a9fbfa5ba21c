// A transport whose clients are other processes: what server and clients tell
// each other beside the rounds.

#ifndef FEDLB_REMOTE_TRANSPORT_H_
#define FEDLB_REMOTE_TRANSPORT_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/client_host.h"
#include "fedlb/client_state_history.h"
#include "fedlb/export.h"
#include "fedlb/param_schema.h"
#include "fedlb/transport.h"
#include "fedlb/update_sink.h"

namespace fedlb {

// The transport behind `fedlb train --role`.
inline constexpr char kRemoteTransportName[] = "thrift";

// What a server holds its clients to.
struct FederationTerms {
  // Differs between runs and stays when one is resumed.
  std::string run_id;
  // What clients must train with, as TOML; sent to them.
  std::string settings;
  int64_t num_clients = 0;
  int64_t num_rounds = 0;
  int64_t next_round = 0;  // of the newest checkpoint
  // Of a round, from its beginning; 0 for none.
  AutoNumber deadline_seconds;
  int64_t staleness_bound = 0;
  int64_t model_bytes = 0;
  // For updates that wait on disk for their turn.
  std::string spill_folder;
  // As TrainOptions::stop; may be null.
  const std::atomic<int>* stop = nullptr;
};

// How far a process's clients have come.
struct ParticipationProgress {
  int64_t round = 0;       // of the newest task
  int64_t num_rounds = 0;  // of the run; 0 when not known
  int64_t updates = 0;     // sent and received by the server
  int64_t refused = 0;     // too late, or not what was asked for
  int64_t samples = 0;     // examples whose gradient was taken
  double train_loss = 0;   // of the newest update; NaN before the first
  TransportTraffic traffic;
};

// What a client process serves its server with. Everything outlives Serve.
struct ServingHost {
  ClientHost* clients = nullptr;
  ClientStateHistory* states = nullptr;
  const std::atomic<int>* stop = nullptr;  // may be null
  std::function<void(const ParticipationProgress&)> on_progress;
};

class FEDLB_API RemoteTransport : public Transport {
 public:
  enum class Role { kServer, kClient };

  virtual Role role() const = 0;

  // The server's side
  // -----------------

  // Before Open.
  virtual void Announce(FederationTerms terms) = 0;

  // Between RunRound and the sink's Finish: updates of earlier rounds that have
  // come since.
  virtual void DeliverLate(int64_t round, UpdateSink& sink) = 0;

  // The newest task's round, `round`, has been applied, with the updates of
  // `clients`.
  virtual void RoundApplied(int64_t round,
                            absl::Span<const int64_t> clients) = 0;

  // The run is over, or has failed. Tells the clients, unless it was
  // interrupted to be resumed.
  virtual void RunEnded(const absl::Status& status) = 0;

  // Of the newest round, for the log: where the clients' time went, and the
  // bytes of all rounds so far.
  virtual ScalarMap Report() const = 0;

  // From now on the run, if it dies, goes on with `next_round`.
  virtual void CheckpointWritten(int64_t next_round) = 0;

  // The clients' side
  // -----------------

  // The clients that this process hosts.
  virtual std::vector<int64_t> clients() const = 0;
  // Where they keep their states; empty for nowhere.
  virtual std::string state_folder() const = 0;

  // Joins the server, trying again while it cannot be reached.
  //
  // kPeerLost naming the server: not reached in time, or it refuses; kUsage:
  // credentials that cannot be read; kInterrupted.
  virtual absl::StatusOr<FederationTerms> Join(
      const std::atomic<int>* stop) = 0;

  // Does the server's tasks until it ends the run. Called after Join on the
  // thread that is to be the first worker.
  //
  // kPeerLost as Join; kInterrupted; kStorage when a state cannot be kept.
  virtual absl::StatusOr<ParticipationProgress> Serve(
      const ServingHost& host) = 0;
};

}  // namespace fedlb

#endif  // FEDLB_REMOTE_TRANSPORT_H_
