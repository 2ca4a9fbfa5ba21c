// Clients in other processes, on other machines, in other languages.

#ifndef FEDLB_TRANSPORTS_THRIFT_THRIFT_TRANSPORT_H_
#define FEDLB_TRANSPORTS_THRIFT_THRIFT_TRANSPORT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/param_schema.h"
#include "fedlb/remote_transport.h"
#include "thrift/coordinator.h"
#include "thrift/framing.h"
#include "thrift/server.h"
#include "thrift/server_link.h"

namespace fedlb::thrift {

struct ThriftTransportOptions {
  RemoteTransport::Role role = RemoteTransport::Role::kServer;
  std::string listen = "127.0.0.1:7070";
  std::string connect = "127.0.0.1:7070";
  std::vector<int64_t> client_ids;
  AutoInteger workers{1};
  std::string state_dir;
  double join_seconds = 60;
  double heartbeat_seconds = 5;
  double reconnect_seconds = 300;
  int64_t uploads = 8;
  int64_t max_connections = 0;
  ByteCount max_update_bytes;
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
  std::string token_file;
  bool insecure = false;
};

// A star: one server, which runs the rounds, and any number of processes that
// host clients. fedlb.thrift is the contract between them. With the same
// configuration the weights are those of clients in one process, bit for bit.
class ThriftTransport final : public RemoteTransport {
 public:
  using Options = ThriftTransportOptions;
  static constexpr char kName[] = "thrift";
  static constexpr char kSummary[] =
      "Clients in other processes, over Thrift, with TLS where it is asked "
      "for.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<ThriftTransport>> Create(
      const Options& options, const ComponentContext& context);

  Role role() const override { return options_.role; }
  int64_t concurrency() const override;
  TransportTraffic traffic() const override;
  // What a restarted server must know of its clients.
  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

  void Announce(FederationTerms terms) override;
  void DeliverLate(int64_t round, UpdateSink& sink) override;
  void RoundApplied(int64_t round, absl::Span<const int64_t> clients) override;
  void CheckpointWritten(int64_t next_round) override;
  void RunEnded(const absl::Status& status) override;
  ScalarMap Report() const override;

  std::vector<int64_t> clients() const override { return options_.client_ids; }
  std::string state_folder() const override { return options_.state_dir; }
  absl::StatusOr<FederationTerms> Join(const std::atomic<int>* stop) override;
  absl::StatusOr<ParticipationProgress> Serve(const ServingHost& host) override;

 private:
  ThriftTransport(const Options& options, Endpoint endpoint, Logger& logger);

  absl::Status DoOpen(ClientHost& host) override;
  absl::Status DoRunRound(const RoundTask& task,
                          absl::Span<const ClientAssignment> cohort,
                          UpdateSink& sink) override;
  absl::StatusOr<double> DoProbe(int64_t bytes) override;
  void DoClose() override;

  bool is_client() const { return options_.role == Role::kClient; }
  absl::Status CheckServerOptions(std::map<int64_t, std::string>& tokens) const;

  const Options options_;
  const Endpoint endpoint_;  // where the server is
  Logger& logger_;
  const std::shared_ptr<WireTraffic> traffic_;

  // Server.
  FederationTerms terms_;
  std::map<int64_t, int64_t> applied_;  // until the coordinator takes it
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<Server> server_;

  // Clients.
  std::unique_ptr<ServerLink> link_;
};

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_THRIFT_TRANSPORT_H_
