#include "transports/live_server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <poll.h>
#include <sys/socket.h>
#include <thrift/transport/TBufferTransports.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace fedlb::thrift {
namespace {

using apache::thrift::protocol::TBinaryProtocol;
using apache::thrift::transport::TFramedTransport;
using apache::thrift::transport::TMemoryBuffer;

}  // namespace

int64_t FromStatus(pid_t pid, const std::string& key) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  std::string word;
  int64_t number = 0;
  while (status >> word) {
    if (word == key) {
      status >> number;
      break;
    }
  }
  return number;
}

LiveServer::LiveServer(ServerOptions options, CoordinatorOptions coordinator,
                       Logger& logger) {
  FederationTerms terms;
  terms.run_id = "test run";
  terms.settings = "seed = 1\n";
  terms.num_clients = 100;
  terms.num_rounds = 10;
  terms.model_bytes = 1 << 20;
  terms.spill_folder = "/tmp";
  if (coordinator.max_update_bytes == 0) {
    coordinator.max_update_bytes = 8 << 20;
  }
  coordinator_ = std::make_unique<Coordinator>(terms, coordinator, logger);
  if (options.listen.host.empty()) {
    options.listen.host = "127.0.0.1";
  }
  auto server = Server::Start(options, *coordinator_,
                              std::make_shared<WireTraffic>(), logger);
  if (!server.ok()) {
    std::cerr << server.status() << "\n";
    std::abort();
  }
  server_ = *std::move(server);
}

absl::StatusOr<std::unique_ptr<ServerLink>> LiveServer::Connect(
    std::vector<int64_t> clients, const TlsFiles& tls, const std::string& token,
    const std::string& host, Logger& logger) {
  ServerLinkOptions options;
  options.server = endpoint();
  options.server.host = host;
  options.clients = std::move(clients);
  options.tls = tls;
  options.token = token;
  options.reconnect_seconds = 5;
  return ServerLink::Connect(options, nullptr, logger);
}

RawConnection::RawConnection(const Endpoint& server)
    : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(server.port));
  inet_pton(AF_INET, server.host.c_str(), &address.sin_addr);
  if (connect(fd_, reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) != 0) {
    std::cerr << "cannot connect to " << server.ToString() << "\n";
    std::abort();
  }
}

RawConnection::~RawConnection() { close(fd_); }

bool RawConnection::Send(absl::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

std::string RawConnection::Receive(int millis, bool* closed) const {
  std::string received;
  pollfd ready = {fd_, POLLIN, 0};
  while (poll(&ready, 1, millis) == 1) {
    char buffer[4096];
    const ssize_t got = recv(fd_, buffer, sizeof(buffer), 0);
    if (got <= 0) {
      if (closed != nullptr) {
        *closed = true;
      }
      break;
    }
    received.append(buffer, static_cast<size_t>(got));
    millis = 20;
  }
  return received;
}

std::string FrameOf(
    const std::function<void(wire::FederationClient& client)>& send) {
  auto buffer = std::make_shared<TMemoryBuffer>();
  wire::FederationClient client(std::make_shared<TBinaryProtocol>(
      std::make_shared<TFramedTransport>(buffer)));
  send(client);
  return buffer->getBufferAsString();
}

std::string JoinFrame(const std::string& process,
                      std::vector<int64_t> clients) {
  return FrameOf([&](wire::FederationClient& client) {
    wire::Hello hello;
    hello.__set_protocol(1);
    hello.__set_process(process);
    hello.__set_clients(std::move(clients));
    hello.__set_checksum(wire::Checksum::XXH3);
    client.send_join(hello);
  });
}

int64_t ResidentBytes() { return FromStatus(getpid(), "VmRSS:") * 1024; }
int64_t NumThreads() { return FromStatus(getpid(), "Threads:"); }

int64_t NumDescriptors() {
  int64_t count = 0;
  DIR* folder = opendir("/proc/self/fd");
  while (readdir(folder) != nullptr) {
    ++count;
  }
  closedir(folder);
  return count;
}

}  // namespace fedlb::thrift
