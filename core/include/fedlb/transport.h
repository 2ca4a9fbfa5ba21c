// Hides where clients live.

#ifndef FEDLB_TRANSPORT_H_
#define FEDLB_TRANSPORT_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/client_host.h"
#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/round_task.h"
#include "fedlb/update_sink.h"

namespace fedlb {

// Bytes that the rounds so far have moved between server and clients.
struct TransportTraffic {
  int64_t bytes_to_clients = 0;
  int64_t bytes_from_clients = 0;
};

// Used from the thread of the round loop: Open, RunRound for each round, Close.
class FEDLB_API Transport : public Component {
 public:
  static constexpr char kKind[] = "transport";

  // Makes ready for rounds. `host` outlives the transport; a transport whose
  // clients live here starts workers on it.
  absl::Status Open(ClientHost& host);

  // Has every client of the cohort do the task. Returns when each slot of the
  // sink has been delivered or dropped, or the round was cancelled. A client
  // that diverges is a dropped slot, and so is one that is lost; where clients
  // live in this process, any other failure of one cancels the round. A status
  // means that the transport itself failed.
  //
  // kFailedPrecondition: not open.
  absl::Status RunRound(const RoundTask& task,
                        absl::Span<const ClientAssignment> cohort,
                        UpdateSink& sink);

  // Sends `bytes` to a client and has as many sent back, as a round's tensors
  // are. Returns the seconds from beginning to end.
  //
  // kUnimplemented: nothing travels here; kFailedPrecondition: not open.
  absl::StatusOr<double> Probe(int64_t bytes);

  // Ends connections and threads of the transport; safe to call twice.
  void Close();

  // Updates that may be under way at once; the sink's window follows from it.
  virtual int64_t concurrency() const = 0;
  virtual TransportTraffic traffic() const = 0;

 private:
  virtual absl::Status DoOpen(ClientHost& host) = 0;
  virtual absl::Status DoRunRound(const RoundTask& task,
                                  absl::Span<const ClientAssignment> cohort,
                                  UpdateSink& sink) = 0;
  virtual absl::StatusOr<double> DoProbe(int64_t /*bytes*/) {
    return absl::UnimplementedError("this transport does not measure itself");
  }
  virtual void DoClose() {}

  bool open_ = false;
};

}  // namespace fedlb

#endif  // FEDLB_TRANSPORT_H_
