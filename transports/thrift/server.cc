#include "thrift/server.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thrift/server/TThreadedServer.h>
#include <thrift/transport/TSSLServerSocket.h>
#include <thrift/transport/TServerSocket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"
#include "thrift/service.h"

namespace fedlb::thrift {
namespace {

using apache::thrift::TConnectionInfo;
using apache::thrift::TProcessor;
using apache::thrift::TProcessorFactory;
using apache::thrift::protocol::TProtocol;
using apache::thrift::protocol::TProtocolFactory;
using apache::thrift::server::TThreadedServer;
using apache::thrift::transport::TServerSocket;
using apache::thrift::transport::TServerTransport;
using apache::thrift::transport::TSocket;
using apache::thrift::transport::TSSLServerSocket;
using apache::thrift::transport::TTransport;
using apache::thrift::transport::TTransportException;
using apache::thrift::transport::TTransportFactory;

constexpr int64_t kMaxUnauthenticated = 64;
constexpr std::chrono::milliseconds kPauseAfterFailure(100);

// Names the other side of a socket.
std::string AddressOf(TSocket& socket, const Endpoint& listen) {
  if (listen.is_unix()) {
    ucred credentials = {};
    socklen_t length = sizeof(credentials);
    getsockopt(socket.getSocketFD(), SOL_SOCKET, SO_PEERCRED, &credentials,
               &length);
    return absl::StrCat("process ", credentials.pid);
  }
  const std::string host = socket.getPeerAddress();
  return absl::StrCat(
      host.find(':') == std::string::npos ? host : absl::StrCat("[", host, "]"),
      ":", socket.getPeerPort());
}

// Lets a few lines a second through, so that a flood of connections does not
// fill the log.
class RefusalLog {
 public:
  explicit RefusalLog(Logger& logger) : logger_(logger) {}

  void Add(const std::string& address, const std::string& cause) {
    const std::lock_guard lock(mutex_);
    const Clock::time_point now = Clock::now();
    if (now - second_ > std::chrono::seconds(1)) {
      if (suppressed_ > 0) {
        logger_.Warning(absl::StrCat("refused ", suppressed_,
                                     " more connections that had not joined"));
      }
      second_ = now;
      in_second_ = suppressed_ = 0;
    }
    if (++in_second_ > kLinesPerSecond) {
      ++suppressed_;
      return;
    }
    logger_.Warning(absl::StrCat("refused ", address, ": ", cause));
  }

 private:
  static constexpr int kLinesPerSecond = 10;

  Logger& logger_;
  std::mutex mutex_;
  Clock::time_point second_;
  int in_second_ = 0;
  int suppressed_ = 0;
};

// Puts the guarded transport on accepted sockets. Called by the accepting
// thread.
class GuardedTransportFactory final : public TTransportFactory {
 public:
  GuardedTransportFactory(std::shared_ptr<WireTraffic> traffic,
                          std::shared_ptr<ConnectionWatch> watch,
                          const ServerOptions& options, RefusalLog& refusals)
      : traffic_(std::move(traffic)),
        watch_(std::move(watch)),
        options_(options),
        refusals_(refusals) {}

  // Called for reading and again for writing with the same connection; frames
  // of both go through one transport.
  std::shared_ptr<TTransport> getTransport(
      std::shared_ptr<TTransport> connection) override {
    if (made_ == nullptr || made_->getUnderlyingTransport() != connection) {
      auto& socket = static_cast<TSocket&>(*connection);
      made_ = std::make_shared<GuardedFramedTransport>(
          connection, traffic_, watch_, socket.getSocketFD(), options_.times);
      made_->set_on_refusal(
          [this, address = AddressOf(socket, options_.listen)](
              const std::string& cause) { refusals_.Add(address, cause); });
      return made_;
    }
    return std::exchange(made_, nullptr);
  }

 private:
  const std::shared_ptr<WireTraffic> traffic_;
  const std::shared_ptr<ConnectionWatch> watch_;
  const ServerOptions& options_;
  RefusalLog& refusals_;
  std::shared_ptr<GuardedFramedTransport> made_;
};

class GuardedProtocolFactory final : public TProtocolFactory {
 public:
  std::shared_ptr<TProtocol> getProtocol(
      std::shared_ptr<TTransport> transport) override {
    return MakeProtocol(
        std::static_pointer_cast<GuardedFramedTransport>(transport));
  }
};

// Gives every connection a service of its own.
class ServiceFactory final : public TProcessorFactory {
 public:
  ServiceFactory(const ServerOptions& options, Coordinator& coordinator,
                 Logger& logger)
      : options_(options), coordinator_(coordinator), logger_(logger) {}

  std::shared_ptr<TProcessor> getProcessor(
      const TConnectionInfo& connection) override {
    auto socket = std::static_pointer_cast<TSocket>(connection.transport);
    auto framed = std::static_pointer_cast<GuardedFramedTransport>(
        connection.input->getTransport());
    const auto who = [this, socket] {
      Peer peer;
      peer.address = AddressOf(*socket, options_.listen);
      if (const auto* tls = dynamic_cast<const TlsSocket*>(socket.get())) {
        peer.clients = tls->clients();
      }
      return peer;
    };
    return std::make_shared<GuardedProcessor>(
        std::make_shared<wire::FederationProcessor>(std::make_shared<Service>(
            coordinator_, logger_, options_.tokens, who,
            [framed] { framed->Authenticate(); })));
  }

 private:
  const ServerOptions& options_;
  Coordinator& coordinator_;
  Logger& logger_;
};

// Listens when it is told to first: Thrift's loop does so again as it begins.
template <typename Base>
class EarlyListener final : public Base {
 public:
  using Base::Base;

  void listen() override {
    if (!listening_) {
      Base::listen();
      listening_ = true;
    }
  }
  void close() override {
    listening_ = false;
    Base::close();
  }

 private:
  bool listening_ = false;
};

// Makes way for a new socket where an earlier server was killed.
void RemoveDeadSocket(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool dead = connect(fd, reinterpret_cast<const sockaddr*>(&address),
                            sizeof(address)) != 0 &&
                    errno == ECONNREFUSED;
  close(fd);
  if (dead) {
    unlink(path.c_str());
  }
}

class ThreadedServer final : public Server {
 public:
  ThreadedServer(const ServerOptions& options, Coordinator& coordinator,
                 std::shared_ptr<WireTraffic> traffic, Logger& logger)
      : options_(options),
        coordinator_(coordinator),
        logger_(logger),
        refusals_(logger),
        traffic_(std::move(traffic)),
        watch_(std::make_shared<ConnectionWatch>(kMaxUnauthenticated)) {}

  ~ThreadedServer() override {
    if (!thread_.joinable()) {
      return;
    }
    stopping_ = true;
    server_->stop();
    // Connections that wait for their clients' next call must not keep the
    // server.
    while (!served_) {
      watch_->ShutDownAll();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    thread_.join();
    if (options_.listen.is_unix()) {
      unlink(options_.listen.path.c_str());
    }
  }

  absl::Status Listen() {
    FEDLB_RETURN_IF_ERROR(OpenSocket());
    const auto transports = std::make_shared<GuardedTransportFactory>(
        traffic_, watch_, options_, refusals_);
    const auto protocols = std::make_shared<GuardedProtocolFactory>();
    server_ = std::make_shared<TThreadedServer>(
        std::make_shared<ServiceFactory>(options_, coordinator_, logger_),
        socket_, transports, protocols);
    server_->setConcurrentClientLimit(options_.max_connections);
    thread_ = std::thread([this] { Main(); });
    return absl::OkStatus();
  }

  const Endpoint& endpoint() const override { return options_.listen; }

 private:
  absl::Status OpenSocket() {
    const Endpoint& listen = options_.listen;
    if (listen.is_unix()) {
      RemoveDeadSocket(listen.path);
      socket_ = std::make_shared<EarlyListener<TServerSocket>>(listen.path);
      socket_->setListenCallback([path = listen.path](int) {
        chmod(path.c_str(), 0600);  // before anyone can connect
      });
    } else if (options_.tls.empty()) {
      socket_ = std::make_shared<EarlyListener<TServerSocket>>(listen.host,
                                                               listen.port);
    } else {
      FEDLB_ASSIGN_OR_RETURN(
          std::shared_ptr<TlsSocketFactory> factory,
          TlsSocketFactory::Create(options_.tls, /*server=*/true));
      socket_ = std::make_shared<EarlyListener<TSSLServerSocket>>(
          listen.host, listen.port, std::move(factory));
    }
    socket_->setInterruptableChildren(false);
    socket_->setKeepAlive(true);
    try {
      socket_->listen();
    } catch (const std::exception& error) {
      return PeerLostError(
          absl::StrCat("cannot listen on ", listen.ToString(), ": ",
                       error.what(), " (", strerror(errno),
                       "); is another server there? choose another port "
                       "with --listen"));
    }
    if (!listen.is_unix()) {
      options_.listen.port = socket_->getPort();
    }
    return absl::OkStatus();
  }

  // Thrift's loop ends when a connection cannot be accepted, for want of
  // descriptors or threads; it is begun anew.
  void Main() {
    while (!stopping_) {
      try {
        server_->serve();
      } catch (const std::exception& error) {
        refusals_.Add("a connection", error.what());
      }
      if (!stopping_) {
        std::this_thread::sleep_for(kPauseAfterFailure);
      }
    }
    served_ = true;
  }

  ServerOptions options_;
  Coordinator& coordinator_;
  Logger& logger_;
  RefusalLog refusals_;
  const std::shared_ptr<WireTraffic> traffic_;
  const std::shared_ptr<ConnectionWatch> watch_;
  std::shared_ptr<TServerSocket> socket_;
  std::shared_ptr<TThreadedServer> server_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> served_{false};
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const ServerOptions& options, Coordinator& coordinator,
    std::shared_ptr<WireTraffic> traffic, Logger& logger) {
  PrepareThrift();
  auto server = std::make_unique<ThreadedServer>(options, coordinator,
                                                 std::move(traffic), logger);
  FEDLB_RETURN_IF_ERROR(server->Listen());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace fedlb::thrift
