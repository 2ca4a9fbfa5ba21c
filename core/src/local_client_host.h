// Workers, each with a thread and a model of its own, that play this process's
// clients.

#ifndef FEDLB_LOCAL_CLIENT_HOST_H_
#define FEDLB_LOCAL_CLIENT_HOST_H_

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "fedlb/client_host.h"
#include "fedlb/export.h"
#include "local_client_worker.h"

namespace fedlb {

// The thread that starts the workers is one of them: a lone worker is not woken
// from another thread for every round, which takes as long as a small step.
// ForEach belongs to that thread.
class FEDLB_API LocalClientHost final : public ClientHost {
 public:
  // `environment` outlives the host. Operations of every worker use
  // `intra_op_threads` threads.
  LocalClientHost(const ClientEnvironment& environment,
                  int64_t intra_op_threads);
  ~LocalClientHost() override;

  absl::Status StartWorkers(int64_t count) override;
  int64_t num_workers() const override;
  void ForEach(int64_t count,
               absl::FunctionRef<void(ClientWorker&, int64_t)> body) override;
  ClientStateStore& states() override { return states_; }

  // ForEach with everything that a local worker can do.
  void ForEachLocal(int64_t count,
                    absl::FunctionRef<void(LocalClientWorker&, int64_t)> body);

 private:
  using Body = absl::FunctionRef<void(LocalClientWorker&, int64_t)>;

  absl::StatusOr<std::unique_ptr<LocalClientWorker>> MakeWorker() const;
  void WorkerMain();
  void RunJobs(LocalClientWorker& worker);

  const ClientEnvironment& environment_;
  const int64_t intra_op_threads_;
  ClientStateStore states_;
  std::unique_ptr<LocalClientWorker> own_worker_;  // of the starting thread
  std::vector<std::thread> threads_;               // of all the others

  absl::Mutex mutex_;
  absl::Status start_status_ ABSL_GUARDED_BY(mutex_);
  int64_t num_ready_ ABSL_GUARDED_BY(mutex_) = 0;
  bool shutting_down_ ABSL_GUARDED_BY(mutex_) = false;
  const Body* body_ ABSL_GUARDED_BY(mutex_) = nullptr;  // null: no work
  int64_t next_index_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t end_index_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t num_running_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace fedlb

#endif  // FEDLB_LOCAL_CLIENT_HOST_H_
