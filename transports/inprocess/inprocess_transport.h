// Clients as threads of this process.

#ifndef FEDLB_TRANSPORTS_INPROCESS_INPROCESS_TRANSPORT_H_
#define FEDLB_TRANSPORTS_INPROCESS_INPROCESS_TRANSPORT_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/param_schema.h"
#include "fedlb/transport.h"

namespace fedlb::inprocess {

struct InprocessTransportOptions {
  AutoInteger workers;
  bool wire = false;
};

// W worker threads with one resident model each play the clients of a round
// one after the other. The number of workers changes no bit of the result: the
// sink adds updates in the order of the cohort.
class InprocessTransport final : public Transport {
 public:
  using Options = InprocessTransportOptions;
  static constexpr char kName[] = "inprocess";
  static constexpr char kSummary[] = "Clients as threads of this process.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<InprocessTransport>> Create(
      const Options& options, const ComponentContext& context);

  int64_t concurrency() const override { return workers_; }
  TransportTraffic traffic() const override;

 private:
  InprocessTransport(int64_t workers, bool wire)
      : workers_(workers), wire_(wire) {}

  absl::Status DoOpen(ClientHost& host) override;
  absl::Status DoRunRound(const RoundTask& task,
                          absl::Span<const ClientAssignment> cohort,
                          UpdateSink& sink) override;

  absl::StatusOr<double> DoProbe(int64_t bytes) override;

  absl::StatusOr<Update> RunClient(ClientWorker& worker, const RoundTask& task,
                                   absl::string_view encoded_task,
                                   const ClientAssignment& assignment);

  const int64_t workers_;
  const bool wire_;
  ClientHost* host_ = nullptr;
  std::atomic<int64_t> bytes_to_clients_{0};
  std::atomic<int64_t> bytes_from_clients_{0};
};

}  // namespace fedlb::inprocess

#endif  // FEDLB_TRANSPORTS_INPROCESS_INPROCESS_TRANSPORT_H_
