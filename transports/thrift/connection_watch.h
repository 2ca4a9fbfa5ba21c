// Ends connections that take too long over something.

#ifndef FEDLB_TRANSPORTS_THRIFT_CONNECTION_WATCH_H_
#define FEDLB_TRANSPORTS_THRIFT_CONNECTION_WATCH_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

namespace fedlb::thrift {

class ConnectionWatch;

// A socket under watch, from its acceptance until before it is closed. Its
// deadline covers whatever the connection is at: a handshake, a frame that
// comes byte by byte, an answer that nobody reads. A receive timeout of the
// socket would begin anew with every byte.
class WatchedConnection {
 public:
  WatchedConnection(std::shared_ptr<ConnectionWatch> watch, int fd);
  ~WatchedConnection();
  WatchedConnection(const WatchedConnection&) = delete;
  WatchedConnection& operator=(const WatchedConnection&) = delete;

  // The connection is shut down unless the next call comes in time.
  void Expect(std::chrono::steady_clock::duration within);
  // For as long as it takes.
  void ExpectNothing();
  // It has shown who it is.
  void Authenticate();

 private:
  friend class ConnectionWatch;

  const std::shared_ptr<ConnectionWatch> watch_;
  const int fd_;
  // Guarded by the watch's mutex.
  std::chrono::steady_clock::time_point deadline_;
  bool authenticated_ = false;
  std::list<WatchedConnection*>::iterator place_;
};

// A thread that looks at all connections a few times a second. While more than
// `max_unauthenticated` connections have not shown who they are, the oldest of
// these is shut down: a flood of silent ones does not keep others out.
class ConnectionWatch {
 public:
  explicit ConnectionWatch(int64_t max_unauthenticated);
  ~ConnectionWatch();

  int64_t num_connections() const;
  // Shuts all connections down.
  void ShutDownAll();

 private:
  friend class WatchedConnection;

  void Add(WatchedConnection* connection);
  void Remove(WatchedConnection* connection);
  void Main();

  const int64_t max_unauthenticated_;
  mutable std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::list<WatchedConnection*> connections_;  // the oldest first
  int64_t num_unauthenticated_ = 0;
  std::thread thread_;
};

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_CONNECTION_WATCH_H_
