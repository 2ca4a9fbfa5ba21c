// A server on a free port of this machine, and what tests need around it.

#ifndef FEDLB_TESTS_TRANSPORTS_LIVE_SERVER_H_
#define FEDLB_TESTS_TRANSPORTS_LIVE_SERVER_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "Federation.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/logger.h"
#include "thrift/coordinator.h"
#include "thrift/server.h"
#include "thrift/server_link.h"

namespace fedlb::thrift {

class LiveServer {
 public:
  // Ends the test program where it cannot listen.
  explicit LiveServer(ServerOptions options = {},
                      CoordinatorOptions coordinator = {},
                      Logger& logger = Logger::Null());

  Coordinator& coordinator() { return *coordinator_; }
  const Endpoint& endpoint() const { return server_->endpoint(); }

  // Joins as fedlb's own clients do.
  absl::StatusOr<std::unique_ptr<ServerLink>> Connect(
      std::vector<int64_t> clients, const TlsFiles& tls = {},
      const std::string& token = "", const std::string& host = "127.0.0.1",
      Logger& logger = Logger::Null());

 private:
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<Server> server_;
};

// A plain connection that sends any bytes.
class RawConnection {
 public:
  explicit RawConnection(const Endpoint& server);
  ~RawConnection();
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  // False when the server has closed it.
  bool Send(absl::string_view bytes) const;
  // What comes within `millis`, up to the end of the connection, which sets
  // `closed`.
  std::string Receive(int millis, bool* closed = nullptr) const;

 private:
  int fd_;
};

// The frame that a call makes.
std::string FrameOf(
    const std::function<void(wire::FederationClient& client)>& send);
std::string JoinFrame(const std::string& process, std::vector<int64_t> clients);

// The number behind `key` in the system's status of a process.
int64_t FromStatus(pid_t pid, const std::string& key);

// Of this process: bytes of memory, threads, open descriptors.
int64_t ResidentBytes();
int64_t NumThreads();
int64_t NumDescriptors();

}  // namespace fedlb::thrift

#endif  // FEDLB_TESTS_TRANSPORTS_LIVE_SERVER_H_
