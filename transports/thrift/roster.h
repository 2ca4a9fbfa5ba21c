// Who takes part in a federation, and who is lost.

#ifndef FEDLB_TRANSPORTS_THRIFT_ROSTER_H_
#define FEDLB_TRANSPORTS_THRIFT_ROSTER_H_

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "fedlb/logger.h"
#include "thrift/clock.h"

namespace fedlb::thrift {

// A process that has joined, from its first join to its last breath. Shared by
// the connections that it has opened since.
struct Session {
  // kSuperseded when another process hosts one of the clients now.
  absl::Status Check() const;

  std::string process;
  std::string peer;
  std::vector<int64_t> clients;

  // Guarded by the coordinator's mutex.
  std::condition_variable news;
  Clock::time_point last_seen;
  int calls = 0;  // under way
  bool superseded = false;
  std::optional<Clock::time_point> told_end;  // of the run, in a poll
};
using SessionPtr = std::shared_ptr<Session>;

// Marks a call of a process, which is a sign of life while it lasts. `lock` is
// of the coordinator's mutex, and locked.
class CallScope {
 public:
  CallScope(Session& session, std::unique_lock<std::mutex>& lock);
  ~CallScope();
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

 private:
  Session& session_;
  std::unique_lock<std::mutex>& lock_;
};

// Processes and the clients that they host. Guarded by the coordinator's mutex.
class Roster {
 public:
  // A process without a sign of life for three heartbeats is lost, and a client
  // that has not joined after `join_seconds`.
  Roster(double heartbeat_seconds, double join_seconds, Logger& logger);

  // Another process that hosted one of the clients loses it.
  SessionPtr Join(const std::string& process,
                  const std::vector<int64_t>& clients, const std::string& peer);
  // The process's clients are lost from now on.
  void Leave(const SessionPtr& session);

  bool HasJoined(int64_t client) const { return session_of_.contains(client); }
  bool JoinTimeIsOver() const;

  // When a client that shows no sign of life counts as lost; nullopt for one
  // that has a call under way.
  std::optional<Clock::time_point> LossTime(int64_t client) const;
  // Why a client that is lost counts as such.
  std::string AbsenceOf(int64_t client) const;

  // Ends the wait for news of the client's process, or of all.
  void Wake(int64_t client);
  void WakeAll();

  // Every process that is there knows that the run is over: it has left since
  // it was told, or has had time to read what it was told.
  bool AllKnowTheEnd() const;

 private:
  const double heartbeat_seconds_;
  const double join_seconds_;
  Logger& logger_;
  const Clock::time_point started_;
  std::map<int64_t, SessionPtr> session_of_;    // by client
  std::map<std::string, SessionPtr> sessions_;  // by process
};

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_ROSTER_H_
