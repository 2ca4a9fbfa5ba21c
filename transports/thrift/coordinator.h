// The server's half of a federation, behind the connections: who has joined,
// which tasks are open, what has arrived.

#ifndef FEDLB_TRANSPORTS_THRIFT_COORDINATOR_H_
#define FEDLB_TRANSPORTS_THRIFT_COORDINATOR_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "fedlb/logger.h"
#include "fedlb/remote_transport.h"
#include "fedlb/round_task.h"
#include "fedlb/update_sink.h"
#include "thrift/clock.h"
#include "thrift/roster.h"
#include "thrift/round_times.h"
#include "thrift/upload.h"

namespace fedlb::thrift {

struct CoordinatorOptions {
  double heartbeat_seconds = 5;
  // How long the clients of a run, or of a server that came back, have to join.
  double join_seconds = 60;
  // Updates that may be received at a time, and the bytes of one.
  int64_t uploads = 8;
  int64_t max_update_bytes = 0;
};

// A task as it is sent: the same bytes for every client.
struct SentTask {
  int64_t id = 0;
  int64_t round = 0;
  RoundWork work;
  double lr = 0;
  std::string bytes;
};

// What a process is told when it asks what to do.
struct PollAnswer {
  // Null: nothing yet, or the run is over.
  std::shared_ptr<const SentTask> task;
  std::vector<ClientAssignment> assignments;
  std::optional<Clock::duration> time_left;
  // Client, and the newest task of it that counts.
  std::vector<std::pair<int64_t, int64_t>> acknowledgements;
  int64_t first_undurable_task = 0;
  bool finished = false;
  std::string reason;  // of an end before the last round
};

// Thread-safe. The members for connections are called by as many threads as
// there are connections; their statuses are refusals (refusal.h). Those for the
// round loop are called by one thread.
class Coordinator {
 public:
  Coordinator(FederationTerms terms, const CoordinatorOptions& options,
              Logger& logger);
  ~Coordinator();

  const FederationTerms& terms() const { return terms_; }
  const CoordinatorOptions& options() const { return options_; }

  // For connections
  // ---------------

  // `process` names the process and `peer` its address, for messages. Another
  // process that hosted one of the clients loses it.
  absl::StatusOr<SessionPtr> Join(const std::string& process,
                                  const std::vector<int64_t>& clients,
                                  const std::string& peer);
  absl::StatusOr<PollAnswer> Poll(const SessionPtr& session,
                                  Clock::duration wait);
  absl::StatusOr<std::shared_ptr<const SentTask>> FindTask(
      const SessionPtr& session, int64_t task);
  // The process has been sent all of a task.
  void NoteFetched(const SessionPtr& session, int64_t task);
  // The offset of the next chunk.
  absl::StatusOr<int64_t> BeginUpload(const SessionPtr& session, int64_t client,
                                      int64_t task, int64_t bytes,
                                      int64_t identity);
  absl::StatusOr<int64_t> PutChunk(const SessionPtr& session, int64_t client,
                                   int64_t task, int64_t offset,
                                   absl::string_view chunk);
  absl::Status Commit(const SessionPtr& session, int64_t client, int64_t task);
  absl::Status Fail(const SessionPtr& session, int64_t client, int64_t task,
                    const absl::Status& cause);
  // Any sign of life.
  absl::Status Touch(const SessionPtr& session);
  void Leave(const SessionPtr& session);

  // For the round loop
  // ------------------

  // Returns when every slot of the cohort has been delivered or dropped: by its
  // client, at the deadline, or because the client is lost.
  absl::Status RunRound(const RoundTask& task,
                        absl::Span<const ClientAssignment> cohort,
                        UpdateSink& sink);
  void DeliverLate(int64_t round, UpdateSink& sink);
  void RoundApplied(int64_t round, absl::Span<const int64_t> clients);
  void CheckpointWritten(int64_t next_round);
  RoundPhases phases() const;

  // Client and newest task that counts: what a server must remember.
  std::map<int64_t, int64_t> applied() const;
  void set_applied(std::map<int64_t, int64_t> applied);

  // Tells whoever polls from now on that the run is over, and waits up to
  // `patience` until every process that is there has heard it.
  void Finish(const std::string& reason, Clock::duration patience);

 private:
  // What one client is to answer to one task.
  struct Answer;
  struct OpenRound;
  using AnswerKey = std::pair<int64_t, int64_t>;  // task, client
  using Lock = std::unique_lock<std::mutex>;

  // All of them are called with `mutex_` locked; those that take the lock open
  // it for a while.
  absl::StatusOr<std::shared_ptr<Answer>> FindAnswer(Session& session,
                                                     int64_t client,
                                                     int64_t task) const;
  PollAnswer AnswerPoll(Session& session);
  // Waits for one of the places for uploads.
  absl::Status TakeUploadPlace(Lock& lock);
  void ReleasePlace();
  void ReleaseUpload(Answer& answer);
  absl::Status Deliver(Answer& answer, absl::string_view bytes, Lock& lock);
  absl::Status Spill(Answer& answer, Lock& lock);
  // Hands over one update that has waited on disk for its turn; false when none
  // may go yet.
  bool DeliverSpilled(Lock& lock);
  void StartClock();
  // Closes answers that will not come; returns when to look again.
  Clock::time_point DropLost(Lock& lock);
  void Drop(Answer& answer, absl::Status cause, Lock& lock);
  void CloseRound();

  const FederationTerms terms_;
  const CoordinatorOptions options_;
  Logger& logger_;

  mutable std::mutex mutex_;
  std::condition_variable round_changed_;  // for the round loop
  std::condition_variable place_free_;     // for uploads
  std::condition_variable process_left_;   // for Finish
  Roster roster_;
  RoundTimes times_;
  std::unique_ptr<OpenRound> round_;
  std::map<AnswerKey, std::shared_ptr<Answer>> answers_;
  std::map<int64_t, int64_t> applied_;          // by client
  std::map<int64_t, int64_t> counts_in_round_;  // client, task
  int64_t next_round_durable_ = 0;
  int64_t last_task_ = -1;
  int64_t num_uploads_ = 0;
  bool finished_ = false;
  std::string reason_;
};

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_COORDINATOR_H_
