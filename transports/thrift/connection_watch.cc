#include "thrift/connection_watch.h"

#include <sys/socket.h>

#include <utility>

#include "thrift/clock.h"

namespace fedlb::thrift {
namespace {

constexpr std::chrono::milliseconds kPeriod(200);

}  // namespace

WatchedConnection::WatchedConnection(std::shared_ptr<ConnectionWatch> watch,
                                     int fd)
    : watch_(std::move(watch)), fd_(fd), deadline_(Clock::time_point::max()) {
  watch_->Add(this);
}

WatchedConnection::~WatchedConnection() { watch_->Remove(this); }

void WatchedConnection::Expect(Clock::duration within) {
  const std::lock_guard lock(watch_->mutex_);
  deadline_ = Clock::now() + within;
}

void WatchedConnection::ExpectNothing() {
  const std::lock_guard lock(watch_->mutex_);
  deadline_ = Clock::time_point::max();
}

void WatchedConnection::Authenticate() {
  const std::lock_guard lock(watch_->mutex_);
  if (!std::exchange(authenticated_, true)) {
    --watch_->num_unauthenticated_;
  }
}

ConnectionWatch::ConnectionWatch(int64_t max_unauthenticated)
    : max_unauthenticated_(max_unauthenticated), thread_([this] { Main(); }) {}

ConnectionWatch::~ConnectionWatch() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  thread_.join();
}

int64_t ConnectionWatch::num_connections() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(connections_.size());
}

void ConnectionWatch::ShutDownAll() {
  const std::lock_guard lock(mutex_);
  for (const WatchedConnection* connection : connections_) {
    shutdown(connection->fd_, SHUT_RDWR);
  }
}

void ConnectionWatch::Add(WatchedConnection* connection) {
  const std::lock_guard lock(mutex_);
  connection->place_ = connections_.insert(connections_.end(), connection);
  if (++num_unauthenticated_ <= max_unauthenticated_) {
    return;
  }
  for (WatchedConnection* oldest : connections_) {
    if (!oldest->authenticated_ && oldest->deadline_ != Clock::time_point()) {
      shutdown(oldest->fd_, SHUT_RDWR);
      oldest->deadline_ = Clock::time_point();  // shut down
      return;
    }
  }
}

void ConnectionWatch::Remove(WatchedConnection* connection) {
  const std::lock_guard lock(mutex_);
  connections_.erase(connection->place_);
  num_unauthenticated_ -= connection->authenticated_ ? 0 : 1;
}

void ConnectionWatch::Main() {
  std::unique_lock lock(mutex_);
  while (!stopping_.wait_for(lock, kPeriod, [this] { return stop_; })) {
    const Clock::time_point now = Clock::now();
    for (const WatchedConnection* connection : connections_) {
      if (connection->deadline_ <= now) {
        shutdown(connection->fd_, SHUT_RDWR);
      }
    }
  }
}

}  // namespace fedlb::thrift
