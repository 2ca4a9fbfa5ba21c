// The clients that live in this process and the workers that play them.

#ifndef FEDLB_CLIENT_HOST_H_
#define FEDLB_CLIENT_HOST_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/client_state.h"
#include "fedlb/export.h"
#include "fedlb/round_task.h"

namespace fedlb {

// One resident model with its surroundings, able to play any client, one at a
// time. Belongs to one worker thread.
class FEDLB_API ClientWorker {
 public:
  virtual ~ClientWorker() = default;

  // Does the work of `task` for one client from `state`, which becomes the
  // client's state after the round.
  //
  // kDiverged naming client, step and lr when the loss is not finite;
  // kOutOfMemory; kInterrupted when the run is being stopped.
  virtual absl::StatusOr<Update> Run(const RoundTask& task,
                                     const ClientAssignment& assignment,
                                     ClientState& state) = 0;
};

// What a transport needs of the process that hosts clients.
class FEDLB_API ClientHost {
 public:
  virtual ~ClientHost() = default;

  // Starts workers, each with a thread of its own, of which the calling one may
  // be one; called once.
  virtual absl::Status StartWorkers(int64_t count) = 0;
  virtual int64_t num_workers() const = 0;

  // Calls body(worker, index) for every index of [0, count) on the workers'
  // threads; to be called on the thread that started them. Indices are begun in increasing order. Returns when all calls have
  // returned.
  virtual void ForEach(
      int64_t count,
      absl::FunctionRef<void(ClientWorker& worker, int64_t index)> body) = 0;

  virtual ClientStateStore& states() = 0;
};

}  // namespace fedlb

#endif  // FEDLB_CLIENT_HOST_H_
