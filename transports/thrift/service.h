// The calls of fedlb.thrift on one connection, handed to the coordinator.

#ifndef FEDLB_TRANSPORTS_THRIFT_SERVICE_H_
#define FEDLB_TRANSPORTS_THRIFT_SERVICE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "Federation.h"
#include "absl/status/status.h"
#include "fedlb/logger.h"
#include "thrift/checksum.h"
#include "thrift/coordinator.h"
#include "thrift/framing.h"

namespace fedlb::thrift {

// Who is on the other side of a connection, as far as it can be known.
struct Peer {
  std::string address;
  // The clients that its certificate names; nullopt without TLS.
  std::optional<std::vector<int64_t>> clients;
};

// One per connection. Every refusal reaches the client as an exception.
class Service final : public wire::FederationIf {
 public:
  // The arguments outlive the service. `who` is called once, in the first join:
  // the TLS handshake is then over.
  Service(Coordinator& coordinator, Logger& logger,
          const std::map<int64_t, std::string>& tokens,
          std::function<Peer()> who, std::function<void()> authenticated);
  ~Service() override;

  void join(wire::Welcome& welcome, const wire::Hello& hello) override;
  void poll(wire::Notice& notice, int32_t wait_millis) override;
  void fetch(wire::Chunk& chunk, int64_t task, int64_t offset,
             int32_t length) override;
  int64_t beginUpload(const wire::Upload& upload) override;
  int64_t putChunk(int64_t client, int64_t task, int64_t offset,
                   const wire::Chunk& chunk) override;
  void commit(int64_t client, int64_t task) override;
  void fail(int64_t client, int64_t task, bool diverged,
            const std::string& cause) override;
  void heartbeat() override;
  void echo(std::string& answer, const std::string& payload,
            int32_t length) override;
  void leave() override;

 private:
  absl::Status Admit(const wire::Hello& hello, const Peer& peer) const;
  const SessionPtr& Joined() const;
  void Describe(const SentTask& task, const PollAnswer& answer,
                wire::Notice& notice) const;

  Coordinator& coordinator_;
  Logger& logger_;
  const std::map<int64_t, std::string>& tokens_;
  const std::function<Peer()> who_;
  const std::function<void()> authenticated_;
  SessionPtr session_;
  ChecksumKind checksum_ = ChecksumKind::kXxh3;
  std::shared_ptr<const SentTask> task_;  // the last one fetched
};

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_SERVICE_H_
