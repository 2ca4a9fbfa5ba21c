// What a process that hosts clients for a server elsewhere remembers of them.

#ifndef FEDLB_CLIENT_STATE_HISTORY_H_
#define FEDLB_CLIENT_STATE_HISTORY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "fedlb/client_state.h"
#include "fedlb/export.h"

namespace fedlb {

// A client's state after each of its tasks, as far back as the server may fall:
// a server that dies goes on from its checkpoint and asks for tasks again that
// clients have done already. Tasks have numbers that grow with time and that a
// restarted server gives out again. Thread-safe.
class FEDLB_API ClientStateHistory {
 public:
  // Kept in memory when `folder` is empty, and otherwise in files
  // client-<number>.safetensors there, so that a process that dies can go on.
  // `run_id` names the server's run.
  //
  // kStorage: the folder cannot be made; kInputFile: a file in it is damaged or
  // belongs to another run.
  static absl::StatusOr<std::unique_ptr<ClientStateHistory>> Open(
      const std::string& folder, const std::string& run_id,
      const std::vector<int64_t>& clients);

  // The state that `task` starts from. What was remembered of this task and of
  // later ones is forgotten: the server asks for them anew.
  ClientState Before(int64_t client, int64_t task);

  // Keeps the state after `task` until the server says what became of it; in a
  // file, if there is a folder, before this returns. kStorage.
  absl::Status Stage(int64_t client, int64_t task, ClientState state);

  // The newest task of the client whose update counts, and the first task that
  // the server may ask for again.
  void Acknowledge(int64_t client, int64_t applied_task,
                   int64_t first_undurable_task);

 private:
  struct Entry {
    int64_t task = 0;
    bool applied = false;
    ClientState state;
  };
  using Entries = std::vector<Entry>;  // in the order of tasks

  ClientStateHistory(std::string folder, std::string run_id)
      : folder_(std::move(folder)), run_id_(std::move(run_id)) {}

  std::string PathOf(int64_t client) const;
  absl::StatusOr<Entries> Read(const std::string& path) const;
  absl::Status Write(int64_t client, const Entries& entries) const;

  const std::string folder_;
  const std::string run_id_;
  absl::Mutex mutex_;
  std::map<int64_t, Entries> clients_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedlb

#endif  // FEDLB_CLIENT_STATE_HISTORY_H_
