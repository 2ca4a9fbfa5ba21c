#include "local_client_host.h"

#include <utility>

#include <ATen/Parallel.h>

#include "fedlb/status.h"

namespace fedlb {

LocalClientHost::LocalClientHost(const ClientEnvironment& environment,
                                 int64_t intra_op_threads)
    : environment_(environment), intra_op_threads_(intra_op_threads) {}

LocalClientHost::~LocalClientHost() {
  {
    absl::MutexLock lock(&mutex_);
    shutting_down_ = true;
  }
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

absl::Status LocalClientHost::StartWorkers(int64_t count) {
  if (count < 1) {
    return absl::InvalidArgumentError("at least one worker is needed");
  }
  if (own_worker_ != nullptr || !threads_.empty()) {
    return absl::FailedPreconditionError("the workers run already");
  }
  for (int64_t i = 1; i < count; ++i) {
    threads_.emplace_back([this] { WorkerMain(); });
  }
  absl::StatusOr<std::unique_ptr<LocalClientWorker>> own = MakeWorker();
  absl::MutexLock lock(&mutex_);
  const auto all_ready = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return num_ready_ >= count - 1;
  };
  mutex_.Await(absl::Condition(&all_ready));
  FEDLB_RETURN_IF_ERROR(start_status_);
  FEDLB_ASSIGN_OR_RETURN(own_worker_, std::move(own));
  return absl::OkStatus();
}

int64_t LocalClientHost::num_workers() const {
  return own_worker_ == nullptr ? 0 : static_cast<int64_t>(threads_.size()) + 1;
}

absl::StatusOr<std::unique_ptr<LocalClientWorker>> LocalClientHost::MakeWorker()
    const {
  // OpenMP keeps the number of threads per calling thread.
  at::set_num_threads(static_cast<int>(intra_op_threads_));
  return CatchAsStatusOr("starting a worker", [this] {
    return LocalClientWorker::Create(environment_);
  });
}

void LocalClientHost::WorkerMain() {
  absl::StatusOr<std::unique_ptr<LocalClientWorker>> worker = MakeWorker();
  mutex_.Lock();
  start_status_.Update(worker.status());
  ++num_ready_;
  while (worker.ok()) {
    const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return shutting_down_ || (body_ != nullptr && next_index_ < end_index_);
    };
    mutex_.Await(absl::Condition(&has_work));
    if (shutting_down_) {
      break;
    }
    RunJobs(**worker);
  }
  mutex_.Unlock();
}

void LocalClientHost::RunJobs(LocalClientWorker& worker)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
  while (next_index_ < end_index_) {
    const int64_t index = next_index_++;
    const Body& body = *body_;
    ++num_running_;
    mutex_.Unlock();
    body(worker, index);
    mutex_.Lock();
    --num_running_;
  }
}

void LocalClientHost::ForEach(
    int64_t count, absl::FunctionRef<void(ClientWorker&, int64_t)> body) {
  ForEachLocal(count, [&body](LocalClientWorker& worker, int64_t index) {
    body(worker, index);
  });
}

void LocalClientHost::ForEachLocal(int64_t count, Body body) {
  absl::MutexLock lock(&mutex_);
  body_ = &body;
  next_index_ = 0;
  end_index_ = count;
  RunJobs(*own_worker_);
  const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return next_index_ == end_index_ && num_running_ == 0;
  };
  mutex_.Await(absl::Condition(&done));
  body_ = nullptr;
}

}  // namespace fedlb
