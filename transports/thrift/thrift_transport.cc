#include "thrift/thrift_transport.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include <ATen/ops/tensor.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/status.h"
#include "thrift/credentials.h"
#include "thrift/refusal.h"

namespace fedlb::thrift {
namespace {

constexpr char kAppliedTasks[] = "applied_tasks";
constexpr int64_t kFewestConnections = 1024;
constexpr int64_t kUpdatesPerModel = 8;
// How long the clients of a run that has ended, or failed, have to hear of it.
constexpr std::chrono::seconds kFarewell(10);
constexpr std::chrono::seconds kFarewellAfterFailure(1);

// What the server does not want, or cannot do, as the user of a client sees it.
absl::Status ForUser(const absl::Status& status, const Endpoint& server) {
  return CodeOf(status).has_value()
             ? PeerLostError(absl::StrCat(server.ToString(),
                                          " refuses: ", status.message()))
             : status;
}

// The clients' half of Serve.
class TaskRunner {
 public:
  TaskRunner(ServerLink& link, const ServingHost& host)
      : link_(link), host_(host) {
    progress_.num_rounds = link.welcome().numRounds;
    progress_.train_loss = std::numeric_limits<double>::quiet_NaN();
  }

  // Does a task for all the clients that it was given to.
  absl::Status Run(const wire::Notice& notice) {
    const absl::StatusOr<RoundTask> fetched = link_.Fetch(notice);
    if (CodeOf(fetched.status()) == Refused::kTaskClosed) {
      return absl::OkStatus();  // over already
    }
    FEDLB_RETURN_IF_ERROR(fetched.status());
    const RoundTask& task = *fetched;
    host_.clients->ForEach(
        static_cast<int64_t>(notice.assignments.size()),
        [&](ClientWorker& worker, int64_t index) {
          const wire::Assignment& assigned =
              notice.assignments[static_cast<size_t>(index)];
          const absl::Status status =
              CatchAsStatus(absl::StrCat("client ", assigned.client), [&] {
                return RunClient(worker, task, notice.task,
                                 {assigned.client, assigned.batchSize});
              });
          const std::lock_guard lock(mutex_);
          status_.Update(status);
        });
    progress_.round = task.round + 1;
    progress_.traffic = {.bytes_to_clients = link_.traffic().received,
                         .bytes_from_clients = link_.traffic().sent};
    if (host_.on_progress) {
      host_.on_progress(progress_);
    }
    return status_;
  }

  const ParticipationProgress& progress() const { return progress_; }

 private:
  absl::Status RunClient(ClientWorker& worker, const RoundTask& task,
                         int64_t task_id, const ClientAssignment& assignment) {
    {
      const std::lock_guard lock(mutex_);
      FEDLB_RETURN_IF_ERROR(status_);
    }
    const int64_t client = assignment.client;
    ClientState state = host_.states->Before(client, task_id);
    const absl::StatusOr<Update> update = worker.Run(task, assignment, state);
    if (!update.ok()) {
      return Report(client, task_id, update.status());
    }
    FEDLB_ASSIGN_OR_RETURN(const std::string bytes, EncodeUpdate(*update));
    if (task.work.kind != RoundWork::Kind::kDisplacement) {
      FEDLB_RETURN_IF_ERROR(
          host_.states->Stage(client, task_id, std::move(state)));
    }
    const absl::Status sent = link_.Send(client, task_id, bytes);
    const std::optional<Refused> code = CodeOf(sent);
    const bool refused =
        code == Refused::kTaskClosed || code == Refused::kMalformed;
    if (!sent.ok() && !refused) {
      return sent;
    }
    const std::lock_guard lock(mutex_);
    progress_.refused += refused ? 1 : 0;
    progress_.updates += refused ? 0 : 1;
    progress_.samples += update->num_samples;
    const auto loss = update->scalars.find("train_loss");
    if (loss != update->scalars.end()) {
      progress_.train_loss = loss->second;
    }
    return absl::OkStatus();
  }

  // A client whose data is bad sits the round out. Everything else, memory for
  // one, concerns the whole process and ends it.
  absl::Status Report(int64_t client, int64_t task_id,
                      const absl::Status& failure) {
    if (FailureOf(failure) == Failure::kInterrupted) {
      return failure;
    }
    const bool diverged = FailureOf(failure) == Failure::kDiverged;
    const absl::Status told =
        link_.Fail(client, task_id, diverged, std::string(failure.message()));
    if (!diverged) {
      return failure;
    }
    return CodeOf(told) == Refused::kTaskClosed ? absl::OkStatus() : told;
  }

  ServerLink& link_;
  const ServingHost& host_;
  std::mutex mutex_;
  absl::Status status_;
  ParticipationProgress progress_;
};

}  // namespace

ParamSchema<ThriftTransportOptions> ThriftTransport::Schema() {
  return ParamSchema<Options>()
      .AddChoice("role", &Options::role,
                 {{"server", Role::kServer}, {"client", Role::kClient}},
                 "What this process is: the server, which runs the rounds, or "
                 "a host of clients.")
      .AddLocal("listen", &Options::listen,
                "Where the server listens: HOST:PORT, [IPV6]:PORT or "
                "unix:PATH; port 0 takes a free one.")
      .AddLocal("connect", &Options::connect,
                "Where clients find the server, written like listen.")
      .AddLocal("client_ids", &Options::client_ids,
                "The clients that this process hosts, from 0.", AtLeast(0))
      .AddLocal("workers", &Options::workers,
                "Clients of this process that train at the same time, each "
                "with a model of its own; \"auto\" takes the number of cores.",
                InClosed(1, 1024))
      .AddLocal("state_dir", &Options::state_dir,
                "Folder where clients keep what they remember between rounds, "
                "so that a process that dies can go on; empty to keep it in "
                "memory.")
      .AddLocal("join_seconds", &Options::join_seconds,
                "How long the server waits for clients to join, from its "
                "start; rounds then go on without those that are missing.",
                AtLeast(0))
      .AddLocal("heartbeat_seconds", &Options::heartbeat_seconds,
                "A process of which the server hears nothing for three times "
                "this long counts as lost until it comes back.",
                InClosed(0.1, 3600))
      .AddLocal("reconnect_seconds", &Options::reconnect_seconds,
                "How long clients try to reach a server that is away.",
                AtLeast(0))
      .AddLocal("uploads", &Options::uploads,
                "Updates that the server receives at the same time; it holds "
                "each in memory until it is complete.",
                InClosed(1, 1024))
      .AddLocal("max_connections", &Options::max_connections,
                "Connections that the server holds; 0 for 1024, or two for "
                "each client where that is more.",
                InClosed(0, 100000))
      .AddLocal("max_update_bytes", &Options::max_update_bytes,
                "The largest update that the server takes; 0 for eight times "
                "the model.")
      .AddLocal("ca_file", &Options::ca_file,
                "PEM file with the certificate of the authority that both "
                "sides trust; turns mutual TLS on. fedlb certs makes one.")
      .AddLocal("certificate_file", &Options::certificate_file,
                "PEM file with this process's certificate.")
      .AddLocal("key_file", &Options::key_file,
                "PEM file with the key of the certificate.")
      .AddLocal("token_file", &Options::token_file,
                "File of tokens, one TOKEN for all clients or lines of CLIENT "
                "TOKEN; the server then asks for them.")
      .AddLocal("insecure", &Options::insecure,
                "Allow connections without TLS beyond this machine: others can "
                "then read and change what is sent.")
      .Check([](const Options& options) {
        const std::set<bool> given = {!options.ca_file.empty(),
                                      !options.certificate_file.empty(),
                                      !options.key_file.empty()};
        if (given.size() > 1) {
          return ConfigError(
              "TLS needs ca_file, certificate_file and key_file; give all "
              "three or none");
        }
        if (options.role == Role::kClient && options.client_ids.empty()) {
          return ConfigError(
              "which clients does this process host? set --client-id, or "
              "transport.client_ids");
        }
        return absl::OkStatus();
      });
}

absl::StatusOr<std::unique_ptr<ThriftTransport>> ThriftTransport::Create(
    const Options& options, const ComponentContext& context) {
  const bool is_client = options.role == Role::kClient;
  const char* const key = is_client ? "connect" : "listen";
  absl::StatusOr<Endpoint> endpoint =
      ParseEndpoint(is_client ? options.connect : options.listen);
  if (!endpoint.ok()) {
    return Annotate(endpoint.status(), absl::StrCat("transport.", key));
  }
  const bool has_tls = !options.ca_file.empty();
  if (has_tls && endpoint->is_unix()) {
    return ConfigError(absl::StrCat("transport.", key,
                                    ": a Unix socket stays on this machine and "
                                    "has no TLS; remove ca_file, or use "
                                    "HOST:PORT"));
  }
  if (!has_tls && !endpoint->is_local()) {
    if (!options.insecure) {
      return ConfigError(absl::StrCat(
          "transport.", key, " = ", endpoint->ToString(),
          " is beyond this machine, and without TLS everyone on the way can "
          "read and change what is sent; set ca_file, certificate_file and "
          "key_file (fedlb certs makes them), or --insecure"));
    }
    context.logger->Warning(absl::StrCat(
        "transport.insecure: ", endpoint->ToString(),
        " is spoken with in plain text; others can read and change it"));
  }
  return std::unique_ptr<ThriftTransport>(
      new ThriftTransport(options, *std::move(endpoint), *context.logger));
}

ThriftTransport::ThriftTransport(const Options& options, Endpoint endpoint,
                                 Logger& logger)
    : options_(options),
      endpoint_(std::move(endpoint)),
      logger_(logger),
      traffic_(std::make_shared<WireTraffic>()) {}

int64_t ThriftTransport::concurrency() const {
  if (!is_client()) {
    return options_.uploads;
  }
  const int64_t wanted =
      options_.workers.is_auto()
          ? std::max<int64_t>(1, std::thread::hardware_concurrency())
          : options_.workers.value;
  return std::min(wanted, static_cast<int64_t>(options_.client_ids.size()));
}

TransportTraffic ThriftTransport::traffic() const {
  return {.bytes_to_clients = traffic_->sent,
          .bytes_from_clients = traffic_->received};
}

ComponentState ThriftTransport::SaveState() const {
  const std::map<int64_t, int64_t> applied =
      coordinator_ != nullptr ? coordinator_->applied() : applied_;
  if (applied.empty()) {
    return {};
  }
  std::vector<int64_t> pairs;
  for (const auto& [client, task] : applied) {
    pairs.push_back(client);
    pairs.push_back(task);
  }
  return {.tensors = {{kAppliedTasks, {at::tensor(pairs, at::kLong)}}}};
}

absl::Status ThriftTransport::LoadState(const ComponentState& state) {
  applied_.clear();
  if (state.empty()) {
    return absl::OkStatus();
  }
  const auto found = state.tensors.find(kAppliedTasks);
  if (found == state.tensors.end() || state.tensors.size() != 1 ||
      !state.scalars.empty() || found->second.size() != 1 ||
      found->second[0].scalar_type() != at::kLong ||
      found->second[0].numel() % 2 != 0) {
    return absl::InvalidArgumentError("not the tasks of clients");
  }
  const at::Tensor& tasks = found->second[0];
  const auto* pairs = tasks.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < tasks.numel(); i += 2) {
    applied_[pairs[i]] = pairs[i + 1];
  }
  return absl::OkStatus();
}

void ThriftTransport::Announce(FederationTerms terms) {
  terms_ = std::move(terms);
}

absl::Status ThriftTransport::DoOpen(ClientHost& /*host*/) {
  if (is_client()) {
    return Join(nullptr).status();
  }
  if (terms_.run_id.empty()) {
    return absl::OkStatus();  // nothing to tell clients: no run
  }
  CoordinatorOptions options;
  options.heartbeat_seconds = options_.heartbeat_seconds;
  options.join_seconds = options_.join_seconds;
  options.uploads = options_.uploads;
  options.max_update_bytes =
      options_.max_update_bytes.value > 0
          ? options_.max_update_bytes.value
          : kUpdatesPerModel * terms_.model_bytes + kChunkBytes;
  coordinator_ = std::make_unique<Coordinator>(terms_, options, logger_);
  coordinator_->set_applied(applied_);
  ServerOptions server;
  server.listen = endpoint_;
  server.tls = {options_.ca_file, options_.certificate_file, options_.key_file};
  server.max_connections =
      options_.max_connections > 0
          ? options_.max_connections
          : std::max(kFewestConnections, 2 * terms_.num_clients);
  if (!options_.token_file.empty()) {
    FEDLB_ASSIGN_OR_RETURN(server.tokens, ReadTokens(options_.token_file));
  }
  FEDLB_ASSIGN_OR_RETURN(
      server_, Server::Start(server, *coordinator_, traffic_, logger_));
  logger_.Info(absl::StrCat("listening on ", server_->endpoint().ToString(),
                            " for ", terms_.num_clients, " clients"));
  return absl::OkStatus();
}

absl::Status ThriftTransport::DoRunRound(
    const RoundTask& task, absl::Span<const ClientAssignment> cohort,
    UpdateSink& sink) {
  if (coordinator_ == nullptr) {
    return absl::FailedPreconditionError(
        "the transport has no terms for its clients");
  }
  return coordinator_->RunRound(task, cohort, sink);
}

void ThriftTransport::DeliverLate(int64_t round, UpdateSink& sink) {
  coordinator_->DeliverLate(round, sink);
}

void ThriftTransport::RoundApplied(int64_t round,
                                   absl::Span<const int64_t> clients) {
  coordinator_->RoundApplied(round, clients);
}

void ThriftTransport::CheckpointWritten(int64_t next_round) {
  coordinator_->CheckpointWritten(next_round);
}

void ThriftTransport::RunEnded(const absl::Status& status) {
  // Whoever is interrupted comes back; clients wait for that.
  if (coordinator_ != nullptr && FailureOf(status) != Failure::kInterrupted) {
    coordinator_->Finish(status.ok() ? "" : std::string(status.message()),
                         status.ok() ? kFarewell : kFarewellAfterFailure);
  }
}

ScalarMap ThriftTransport::Report() const {
  const RoundPhases phases = coordinator_->phases();
  return {{"download_seconds", phases.download_seconds},
          {"work_seconds", phases.work_seconds},
          {"upload_seconds", phases.upload_seconds},
          {"bytes_to_clients", static_cast<double>(traffic_->sent)},
          {"bytes_from_clients", static_cast<double>(traffic_->received)}};
}

absl::StatusOr<double> ThriftTransport::DoProbe(int64_t bytes) {
  if (link_ == nullptr) {
    return absl::UnimplementedError(
        "a server does not measure its clients' connections; run fedlb profile "
        "on a client, with --role client");
  }
  return link_->Echo(bytes);
}

void ThriftTransport::DoClose() {
  server_ = nullptr;
  link_ = nullptr;
}

absl::StatusOr<FederationTerms> ThriftTransport::Join(
    const std::atomic<int>* stop) {
  if (link_ == nullptr) {
    ServerLinkOptions link;
    link.server = endpoint_;
    link.tls = {options_.ca_file, options_.certificate_file, options_.key_file};
    link.clients = options_.client_ids;
    link.reconnect_seconds = options_.reconnect_seconds;
    if (!options_.token_file.empty()) {
      FEDLB_ASSIGN_OR_RETURN(const auto tokens,
                             ReadTokens(options_.token_file));
      FEDLB_ASSIGN_OR_RETURN(link.token, TokenOf(tokens, options_.client_ids,
                                                 options_.token_file));
    }
    absl::StatusOr<std::unique_ptr<ServerLink>> connected =
        ServerLink::Connect(link, stop, logger_);
    if (!connected.ok()) {
      return ForUser(connected.status(), endpoint_);
    }
    link_ = *std::move(connected);
    logger_.Info(absl::StrCat("joined ", endpoint_.ToString(), " as client ",
                              absl::StrJoin(options_.client_ids, ", ")));
  }
  const wire::Welcome& welcome = link_->welcome();
  FederationTerms terms;
  terms.run_id = welcome.runId;
  terms.settings = welcome.settings;
  terms.num_clients = welcome.numClients;
  terms.num_rounds = welcome.numRounds;
  return terms;
}

absl::StatusOr<ParticipationProgress> ThriftTransport::Serve(
    const ServingHost& host) {
  FEDLB_RETURN_IF_ERROR(host.clients->StartWorkers(concurrency()));
  TaskRunner runner(*link_, host);
  for (;;) {
    if (host.stop != nullptr && *host.stop != 0) {
      link_->Leave();
      return InterruptedError("stopped between two tasks");
    }
    const absl::StatusOr<wire::Notice> notice = link_->Poll();
    if (!notice.ok()) {
      return ForUser(notice.status(), endpoint_);
    }
    for (const wire::Acknowledgement& counted : notice->acknowledgements) {
      host.states->Acknowledge(counted.client, counted.task,
                               notice->firstUndurableTask);
    }
    if (notice->kind == wire::NoticeKind::FINISHED) {
      link_->Leave();
      if (!notice->reason.empty()) {
        return PeerLostError(absl::StrCat(endpoint_.ToString(),
                                          " ended the run: ", notice->reason));
      }
      return runner.progress();
    }
    if (notice->kind == wire::NoticeKind::TASK) {
      const absl::Status done = runner.Run(*notice);
      if (!done.ok()) {
        link_->Leave();
        return ForUser(done, endpoint_);
      }
    }
  }
}

}  // namespace fedlb::thrift
