// What a client keeps from one round to the next.

#ifndef FEDLB_CLIENT_STATE_H_
#define FEDLB_CLIENT_STATE_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "fedlb/component.h"
#include "fedlb/export.h"

namespace fedlb {

// Small for a client that keeps nothing but its place in its data.
struct ClientState {
  // The batch that comes next starts at `cursor` of the shuffled examples of
  // pass number `epoch`.
  int64_t epoch = 0;
  int64_t cursor = 0;
  // By owner: "optimizer", "buffers", "client_algorithm", "compressor",
  // "critical_phase".
  std::map<std::string, ComponentState> parts;
};

// The states of all clients of one process. A round works on copies, which
// take effect together once the round has been applied. Thread-safe.
class FEDLB_API ClientStateStore {
 public:
  // The committed state; a fresh one for a client that has not been seen.
  ClientState Get(int64_t client) const;

  // Keeps `state` until Commit or Rollback.
  void Stage(int64_t client, ClientState state);
  // Forgets what has been staged for a client, whose update was dropped.
  void Discard(int64_t client);
  void Commit();
  void Rollback();

  // All committed states in the order of client numbers.
  std::vector<std::pair<int64_t, ClientState>> Snapshot() const;
  void Restore(std::vector<std::pair<int64_t, ClientState>> states);

 private:
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<int64_t, ClientState> committed_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<int64_t, ClientState> staged_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedlb

#endif  // FEDLB_CLIENT_STATE_H_
