#include "inprocess/inprocess_transport.h"

#include <algorithm>
#include <string>
#include <thread>
#include <utility>

#include <ATen/ops/zeros.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fedlb/status.h"

namespace fedlb::inprocess {

ParamSchema<InprocessTransportOptions> InprocessTransport::Schema() {
  return ParamSchema<Options>()
      .Add("workers", &Options::workers,
           "Clients that train at the same time, each on a thread with a model "
           "of its own; \"auto\" takes the number of cores. It changes the "
           "speed and the memory, never the result.",
           InClosed(1, 1024))
      .Add("wire", &Options::wire,
           "Sends every task and update through the bytes that a remote "
           "transport would move, and counts them.");
}

absl::StatusOr<std::unique_ptr<InprocessTransport>> InprocessTransport::Create(
    const Options& options, const ComponentContext& context) {
  const int64_t wanted =
      options.workers.is_auto()
          ? std::max<int64_t>(1, std::thread::hardware_concurrency())
          : options.workers.value;
  return std::unique_ptr<InprocessTransport>(new InprocessTransport(
      std::min(wanted, context.num_clients), options.wire));
}

TransportTraffic InprocessTransport::traffic() const {
  return {bytes_to_clients_, bytes_from_clients_};
}

absl::Status InprocessTransport::DoOpen(ClientHost& host) {
  host_ = &host;
  return host.StartWorkers(workers_);
}

absl::Status InprocessTransport::DoRunRound(
    const RoundTask& task, absl::Span<const ClientAssignment> cohort,
    UpdateSink& sink) {
  std::string encoded_task;
  if (wire_) {
    FEDLB_ASSIGN_OR_RETURN(encoded_task, EncodeTask(task));
  }
  const auto count = static_cast<int64_t>(cohort.size());
  host_->ForEach(count, [&](ClientWorker& worker, int64_t slot) {
    if (!sink.Admit(slot)) {
      return;
    }
    const ClientAssignment& assignment = cohort[static_cast<size_t>(slot)];
    absl::StatusOr<Update> update = CatchAsStatusOr(
        absl::StrCat("client ", assignment.client),
        [&] { return RunClient(worker, task, encoded_task, assignment); });
    if (update.ok()) {
      sink.Deliver(slot, *std::move(update));
    } else if (FailureOf(update.status()) == Failure::kDiverged) {
      sink.Drop(slot, update.status());
    } else {
      // A client of this process that fails for another reason than its data
      // means that the process is at fault or is being stopped.
      sink.Cancel(update.status());
    }
  });
  return absl::OkStatus();
}

absl::StatusOr<double> InprocessTransport::DoProbe(int64_t bytes) {
  if (!wire_) {
    return absl::UnimplementedError(
        "clients share the server's memory, and nothing travels; set "
        "transport.wire = true to send everything through its bytes");
  }
  RoundTask task;
  task.weights = {at::zeros({(bytes + 3) / 4})};
  Update update;
  update.groups[kParametersGroup] = task.weights;
  const absl::Time start = absl::Now();
  FEDLB_ASSIGN_OR_RETURN(const std::string sent, EncodeTask(task));
  FEDLB_RETURN_IF_ERROR(DecodeTask(sent).status());
  FEDLB_ASSIGN_OR_RETURN(const std::string answer, EncodeUpdate(update));
  FEDLB_RETURN_IF_ERROR(DecodeUpdate(answer).status());
  return absl::ToDoubleSeconds(absl::Now() - start);
}

absl::StatusOr<Update> InprocessTransport::RunClient(
    ClientWorker& worker, const RoundTask& task, absl::string_view encoded_task,
    const ClientAssignment& assignment) {
  ClientState state = host_->states().Get(assignment.client);
  if (!wire_) {
    FEDLB_ASSIGN_OR_RETURN(Update update, worker.Run(task, assignment, state));
    host_->states().Stage(assignment.client, std::move(state));
    return update;
  }
  FEDLB_ASSIGN_OR_RETURN(const RoundTask received, DecodeTask(encoded_task));
  FEDLB_ASSIGN_OR_RETURN(const Update update,
                         worker.Run(received, assignment, state));
  FEDLB_ASSIGN_OR_RETURN(const std::string bytes, EncodeUpdate(update));
  FEDLB_ASSIGN_OR_RETURN(Update delivered, DecodeUpdate(bytes));
  bytes_to_clients_ += static_cast<int64_t>(encoded_task.size());
  bytes_from_clients_ += static_cast<int64_t>(bytes.size());
  host_->states().Stage(assignment.client, std::move(state));
  return delivered;
}

}  // namespace fedlb::inprocess
