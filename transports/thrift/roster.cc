#include "thrift/roster.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "thrift/refusal.h"

namespace fedlb::thrift {
namespace {

// Heartbeats that may be missed.
constexpr int kMissedHeartbeats = 3;

// Who has said nothing for so long is not waited for at the end.
constexpr double kQuietHeartbeats = 1.5;

// How long the answer to a poll may be on its way. A process whose answer meets
// a closed connection would look for its server for minutes.
constexpr double kTellingSeconds = 2;

}  // namespace

absl::Status Session::Check() const {
  return superseded
             ? Refusal(Refused::kSuperseded,
                       "another process has joined with one of these clients; "
                       "stop one of the two")
             : absl::OkStatus();
}

CallScope::CallScope(Session& session, std::unique_lock<std::mutex>& lock)
    : session_(session), lock_(lock) {
  ++session_.calls;
  session_.last_seen = Clock::now();
}

CallScope::~CallScope() {
  if (!lock_.owns_lock()) {
    lock_.lock();
  }
  --session_.calls;
  session_.last_seen = Clock::now();
}

Roster::Roster(double heartbeat_seconds, double join_seconds, Logger& logger)
    : heartbeat_seconds_(heartbeat_seconds),
      join_seconds_(join_seconds),
      logger_(logger),
      started_(Clock::now()) {}

SessionPtr Roster::Join(const std::string& process,
                        const std::vector<int64_t>& clients,
                        const std::string& peer) {
  SessionPtr& session = sessions_[process];
  if (session == nullptr || session->superseded ||
      session->clients != clients) {
    if (session != nullptr) {
      session->superseded = true;
    }
    session = std::make_shared<Session>();
    session->process = process;
    session->clients = clients;
  }
  session->peer = peer;
  session->last_seen = Clock::now();
  for (const int64_t client : clients) {
    SessionPtr& owner = session_of_[client];
    if (owner != nullptr && owner != session && !owner->superseded) {
      owner->superseded = true;
      owner->news.notify_all();
      if (owner->process != process) {
        sessions_.erase(owner->process);
      }
      logger_.Warning(absl::StrCat("client ", client, " has joined from ", peer,
                                   ", and no longer is at ", owner->peer));
    }
    owner = session;
  }
  return session;
}

void Roster::Leave(const SessionPtr& session) {
  session->superseded = true;
  // Without the grace of those who fell silent.
  for (const int64_t client : session->clients) {
    const auto owner = session_of_.find(client);
    if (owner != session_of_.end() && owner->second == session) {
      session->last_seen = Clock::time_point();
    }
  }
  sessions_.erase(session->process);
}

bool Roster::JoinTimeIsOver() const {
  return Clock::now() >= started_ + Seconds(join_seconds_);
}

std::optional<Clock::time_point> Roster::LossTime(int64_t client) const {
  const auto found = session_of_.find(client);
  if (found == session_of_.end()) {
    return started_ + Seconds(join_seconds_);
  }
  const Session& session = *found->second;
  if (session.calls > 0 && !session.superseded) {
    return std::nullopt;
  }
  return session.last_seen + Seconds(kMissedHeartbeats * heartbeat_seconds_);
}

std::string Roster::AbsenceOf(int64_t client) const {
  const auto found = session_of_.find(client);
  if (found == session_of_.end()) {
    return absl::StrFormat(
        "has not joined within %g s of the server's start; start it with "
        "--role client --client-id %d, or raise transport.join_seconds",
        join_seconds_, client);
  }
  const Session& session = *found->second;
  return session.superseded
             ? absl::StrCat("left, at ", session.peer)
             : absl::StrFormat("was lost: nothing heard from %s for %.3g s",
                               session.peer,
                               SecondsBetween(session.last_seen, Clock::now()));
}

void Roster::Wake(int64_t client) {
  const auto found = session_of_.find(client);
  if (found != session_of_.end()) {
    found->second->news.notify_all();
  }
}

void Roster::WakeAll() {
  for (const auto& [process, session] : sessions_) {
    session->news.notify_all();
  }
}

bool Roster::AllKnowTheEnd() const {
  const Clock::time_point now = Clock::now();
  return std::all_of(
      sessions_.begin(), sessions_.end(), [&](const auto& entry) {
        const Session& session = *entry.second;
        return session.superseded ||
               (session.told_end.has_value() &&
                now - *session.told_end > Seconds(kTellingSeconds)) ||
               (session.calls == 0 &&
                now - session.last_seen >
                    Seconds(kQuietHeartbeats * heartbeat_seconds_));
      });
}

}  // namespace fedlb::thrift
