// The sockets and threads of a federation's server.

#ifndef FEDLB_TRANSPORTS_THRIFT_SERVER_H_
#define FEDLB_TRANSPORTS_THRIFT_SERVER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "fedlb/logger.h"
#include "thrift/coordinator.h"
#include "thrift/endpoint.h"
#include "thrift/framing.h"
#include "thrift/tls.h"

namespace fedlb::thrift {

struct ServerOptions {
  Endpoint listen;
  TlsFiles tls;
  // By client; those without an entry have the token of -1. Empty: none asked.
  std::map<int64_t, std::string> tokens;
  int64_t max_connections = 1024;
  FrameTimes times;
};

// Answers the calls of fedlb.thrift, each connection on a thread of its own,
// until it is destroyed.
class Server {
 public:
  // `coordinator`, `traffic` and `logger` outlive the server. kPeerLost when
  // nothing can be listened on, kUsage as TlsSocketFactory::Create.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const ServerOptions& options, Coordinator& coordinator,
      std::shared_ptr<WireTraffic> traffic, Logger& logger);
  virtual ~Server() = default;

  // With the port that was chosen where port 0 was asked for.
  virtual const Endpoint& endpoint() const = 0;
};

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_SERVER_H_
