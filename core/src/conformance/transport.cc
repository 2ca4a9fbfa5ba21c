// The suite of transports whose clients live in this process. It plays host,
// workers and server around them.

#include "fedlb/transport.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "conformance/sink_testing.h"
#include "conformance/suite.h"
#include "fedlb/client_host.h"
#include "fedlb/update_sink.h"

namespace fedlb::conformance {
namespace {

// What one client answers: weights times (client + 1).
Update Answer(const RoundTask& task, const ClientAssignment& assignment) {
  Update update;
  update.kind = Update::Kind::kGradient;
  update.round = task.round;
  update.client = assignment.client;
  update.num_examples = assignment.batch_size;
  update.local_steps = 1;
  update.num_samples = assignment.batch_size;
  TensorList parameters = Clone(task.weights);
  Scale(static_cast<double>(assignment.client + 1), parameters);
  update.groups[kParametersGroup] = std::move(parameters);
  update.scalars["loss"] = static_cast<double>(assignment.client);
  return update;
}

class Host;

class Worker final : public ClientWorker {
 public:
  explicit Worker(Host& host) : host_(host) {}

  absl::StatusOr<Update> Run(const RoundTask& task,
                             const ClientAssignment& assignment,
                             ClientState& state) override;

 private:
  Host& host_;
};

// Workers are threads that live for one ForEach.
class Host final : public ClientHost {
 public:
  absl::Status StartWorkers(int64_t count) override {
    if (count < 1 || num_workers_ != 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("StartWorkers(", count, ") after ", num_workers_));
    }
    num_workers_ = count;
    return absl::OkStatus();
  }
  int64_t num_workers() const override { return num_workers_; }

  void ForEach(int64_t count,
               absl::FunctionRef<void(ClientWorker& worker, int64_t index)>
                   body) override {
    std::atomic<int64_t> next = 0;
    std::vector<std::thread> threads;
    for (int64_t i = 0; i < num_workers_; ++i) {
      threads.emplace_back([&] {
        Worker worker(*this);
        for (int64_t index = next++; index < count; index = next++) {
          body(worker, index);
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  }

  ClientStateStore& states() override { return states_; }

  // Clients that fail, what is called as a client starts, and what clients saw.
  std::set<int64_t> failing;
  std::function<void(int64_t)> on_run;
  absl::Mutex mutex;
  std::multiset<int64_t> clients_run ABSL_GUARDED_BY(mutex);
  std::set<std::string> tasks_seen ABSL_GUARDED_BY(mutex);

 private:
  int64_t num_workers_ = 0;
  ClientStateStore states_;
};

absl::StatusOr<Update> Worker::Run(const RoundTask& task,
                                   const ClientAssignment& assignment,
                                   ClientState& state) {
  if (host_.on_run) {
    host_.on_run(assignment.client);
  }
  {
    FEDLB_ASSIGN_OR_RETURN(std::string bytes, EncodeTask(task));
    absl::MutexLock lock(&host_.mutex);
    host_.clients_run.insert(assignment.client);
    host_.tasks_seen.insert(std::move(bytes));
  }
  ++state.cursor;
  if (host_.failing.contains(assignment.client)) {
    // The failure of a client alone; others may be the whole process's.
    return DivergedError("told to fail");
  }
  return Answer(task, assignment);
}

RoundTask MakeTask(int64_t round, const std::vector<int64_t>& shape) {
  RoundTask task;
  task.round = round;
  task.lr = 0.25;
  task.weights =
      RandomTensors({{"weight", shape, at::kFloat}, {"bias", {3}, at::kFloat}},
                    1 + static_cast<uint64_t>(round));
  task.aux["client_algorithm.control"] =
      RandomTensors({{"control", {2, 2}, at::kFloat}}, 77);
  task.scalars["client_algorithm.mu"] = 1.0 / 3.0;
  return task;
}

TensorLayout LayoutOf(const RoundTask& task) {
  return {{"weight", task.weights[0].sizes().vec(), at::kFloat},
          {"bias", {3}, at::kFloat}};
}

// Clients of high number first, so that a transport that sorts is found out.
std::vector<ClientAssignment> MakeCohort(int64_t size) {
  std::vector<ClientAssignment> cohort;
  for (int64_t slot = 0; slot < size; ++slot) {
    cohort.push_back({2 * (size - slot), 1 + slot % 3});
  }
  return cohort;
}

std::unique_ptr<UpdateSink> MakeSink(
    const Transport& transport, const RoundTask& task,
    const std::vector<ClientAssignment>& cohort, Aggregator& aggregator) {
  static const auto& compressor = *new NoCompression();
  std::vector<int64_t> clients;
  for (const ClientAssignment& assignment : cohort) {
    clients.push_back(assignment.client);
  }
  return std::make_unique<UpdateSink>(
      task, clients, LayoutOf(task), TensorLayout(), UpdateGateOptions(),
      2 * transport.concurrency(), compressor, aggregator,
      std::vector<UpdateObserver*>());
}

absl::StatusOr<RoundResult> RunRound(
    Transport& transport, const RoundTask& task,
    const std::vector<ClientAssignment>& cohort) {
  RecordingMean aggregator;
  const auto sink = MakeSink(transport, task, cohort, aggregator);
  FEDLB_RETURN_IF_ERROR(
      Annotate(transport.RunRound(task, cohort, *sink), "RunRound"));
  return sink->Finish();
}

// The aggregate that the clients outside `failing` must give.
TensorList Expected(const RoundTask& task,
                    const std::vector<ClientAssignment>& cohort,
                    const std::set<int64_t>& failing) {
  WeightedMean mean;
  mean.Begin(LayoutOf(task));
  for (const ClientAssignment& assignment : cohort) {
    if (!failing.contains(assignment.client)) {
      mean.Add(Answer(task, assignment).parameters(),
               static_cast<double>(assignment.batch_size));
    }
  }
  return mean.Mean();
}

// A transport that has been opened on a host of its own.
struct Opened {
  std::unique_ptr<Host> host;
  std::unique_ptr<Transport> transport;
};

absl::StatusOr<Opened> Open(const Suite& suite) {
  Opened opened;
  opened.host = std::make_unique<Host>();
  FEDLB_ASSIGN_OR_RETURN(opened.transport, suite.Create<Transport>());
  FEDLB_RETURN_IF_ERROR(Annotate(opened.transport->Open(*opened.host), "Open"));
  if (opened.host->num_workers() == 0) {
    return Skipped("its clients live in other processes");
  }
  return opened;
}

absl::Status CheckRound(const Suite& suite, int64_t cohort_size,
                        const std::vector<int64_t>& shape) {
  FEDLB_ASSIGN_OR_RETURN(const Opened opened, Open(suite));
  const auto cohort = MakeCohort(cohort_size);
  for (int64_t round = 0; round < 2; ++round) {
    const RoundTask task = MakeTask(round, shape);
    FEDLB_ASSIGN_OR_RETURN(const RoundResult result,
                           RunRound(*opened.transport, task, cohort));
    FEDLB_RETURN_IF_ERROR(
        Expect(result.num_survivors == cohort_size && result.dropped.empty(),
               absl::StrCat(result.num_survivors, " of ", cohort_size,
                            " clients survive")));
    FEDLB_RETURN_IF_ERROR(ExpectSameBits(
        result.aggregate, Expected(task, cohort, {}), "the aggregate"));
    FEDLB_RETURN_IF_ERROR(ExpectSameBits(task.weights,
                                         MakeTask(round, shape).weights,
                                         "weights after the round"));
    FEDLB_ASSIGN_OR_RETURN(const std::string sent, EncodeTask(task));
    absl::MutexLock lock(&opened.host->mutex);
    FEDLB_RETURN_IF_ERROR(
        Expect(opened.host->tasks_seen == std::set<std::string>{sent},
               "clients do not see the task as it was sent"));
    for (const ClientAssignment& assignment : cohort) {
      FEDLB_RETURN_IF_ERROR(
          Expect(opened.host->clients_run.count(assignment.client) == 1 &&
                     static_cast<int64_t>(opened.host->clients_run.size()) ==
                         cohort_size,
                 "not every client of the cohort ran exactly once"));
    }
    opened.host->tasks_seen.clear();
    opened.host->clients_run.clear();
  }
  return absl::OkStatus();
}

absl::Status CheckCohorts(const Suite& suite) {
  for (const int64_t size : {1, 2, 3, 7, 32}) {
    FEDLB_RETURN_IF_ERROR(Annotate(CheckRound(suite, size, {4, 2}),
                                   absl::StrCat("a cohort of ", size)));
  }
  return absl::OkStatus();
}

absl::Status CheckPayloads(const Suite& suite) {
  const std::vector<std::vector<int64_t>> shapes = {
      {0}, {1}, {1000}, {1 << 20}, {4, 1 << 20}};
  for (const std::vector<int64_t>& shape : shapes) {
    FEDLB_RETURN_IF_ERROR(
        Annotate(CheckRound(suite, 3, shape),
                 absl::StrCat("weights of ", 4 * TensorSpec{"", shape}.numel(),
                              " bytes")));
  }
  return absl::OkStatus();
}

absl::Status CheckFailingClients(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(const Opened opened, Open(suite));
  const auto cohort = MakeCohort(7);
  const RoundTask task = MakeTask(0, {4, 2});
  opened.host->failing = {cohort[0].client, cohort[4].client};
  FEDLB_ASSIGN_OR_RETURN(const RoundResult result,
                         RunRound(*opened.transport, task, cohort));
  FEDLB_RETURN_IF_ERROR(
      Expect(result.num_survivors == 5 && result.dropped.size() == 2 &&
                 result.dropped[0].first == cohort[0].client &&
                 result.dropped[1].first == cohort[4].client,
             "not exactly the failing clients are dropped"));
  FEDLB_RETURN_IF_ERROR(Expect(
      absl::StrContains(result.dropped[0].second.message(), "told to fail"),
      absl::StrCat("the client's own words are lost: ",
                   result.dropped[0].second.ToString())));
  FEDLB_RETURN_IF_ERROR(ExpectSameBits(
      result.aggregate, Expected(task, cohort, opened.host->failing),
      "the aggregate of the others"));

  for (const ClientAssignment& assignment : cohort) {
    opened.host->failing.insert(assignment.client);
  }
  FEDLB_ASSIGN_OR_RETURN(const RoundResult nobody,
                         RunRound(*opened.transport, task, cohort));
  return Expect(nobody.num_survivors == 0 && nobody.dropped.size() == 7,
                "a round in which every client fails");
}

absl::Status CheckStates(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(const Opened opened, Open(suite));
  const auto cohort = MakeCohort(3);
  opened.host->failing = {cohort[1].client};
  ClientStateStore& states = opened.host->states();
  const auto cursor = [&states](const ClientAssignment& assignment) {
    return states.Get(assignment.client).cursor;
  };
  FEDLB_RETURN_IF_ERROR(
      RunRound(*opened.transport, MakeTask(0, {2}), cohort).status());
  FEDLB_RETURN_IF_ERROR(
      Expect(cursor(cohort[0]) == 0, "a state is changed before Commit"));
  states.Commit();
  FEDLB_RETURN_IF_ERROR(Expect(cursor(cohort[0]) == 1 && cursor(cohort[2]) == 1,
                               "a client's new state is lost"));
  FEDLB_RETURN_IF_ERROR(
      Expect(cursor(cohort[1]) == 0, "a client that failed keeps a new state"));
  FEDLB_RETURN_IF_ERROR(
      RunRound(*opened.transport, MakeTask(1, {2}), cohort).status());
  states.Commit();
  return Expect(cursor(cohort[0]) == 2,
                "a client does not start from its own state");
}

absl::Status CheckCancel(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(const Opened opened, Open(suite));
  const auto cohort = MakeCohort(32);
  const RoundTask task = MakeTask(0, {4, 2});
  RecordingMean aggregator;
  const auto sink = MakeSink(*opened.transport, task, cohort, aggregator);
  opened.host->on_run = [&](int64_t client) {
    if (client == cohort[2].client) {
      sink->Cancel(absl::CancelledError("told to stop"));
    }
  };
  // Whether a round that was cancelled is a failure of the transport is left
  // open; that RunRound returns is not.
  (void)opened.transport->RunRound(task, cohort, *sink);
  FEDLB_RETURN_IF_ERROR(ExpectCode(sink->Finish().status(),
                                   absl::StatusCode::kCancelled,
                                   "Finish of a round that was cancelled"));
  opened.host->on_run = nullptr;
  FEDLB_ASSIGN_OR_RETURN(const RoundResult next,
                         RunRound(*opened.transport, task, cohort));
  return Expect(next.num_survivors == 32,
                "the round after a cancelled one is incomplete");
}

absl::Status CheckLifetime(const Suite& suite) {
  const auto cohort = MakeCohort(2);
  const RoundTask task = MakeTask(0, {2});
  Host host;
  FEDLB_ASSIGN_OR_RETURN(auto transport, suite.Create<Transport>());
  FEDLB_RETURN_IF_ERROR(ExpectCode(RunRound(*transport, task, cohort).status(),
                                   absl::StatusCode::kFailedPrecondition,
                                   "RunRound before Open"));
  FEDLB_RETURN_IF_ERROR(transport->Open(host));
  if (host.num_workers() == 0) {
    return Skipped("its clients live in other processes");
  }
  FEDLB_RETURN_IF_ERROR(
      Expect(transport->concurrency() >= 1,
             absl::StrCat("concurrency() is ", transport->concurrency())));
  FEDLB_RETURN_IF_ERROR(RunRound(*transport, task, cohort).status());
  const TransportTraffic traffic = transport->traffic();
  FEDLB_RETURN_IF_ERROR(RunRound(*transport, task, cohort).status());
  const TransportTraffic later = transport->traffic();
  FEDLB_RETURN_IF_ERROR(
      Expect(traffic.bytes_to_clients >= 0 && traffic.bytes_from_clients >= 0 &&
                 later.bytes_to_clients >= traffic.bytes_to_clients &&
                 later.bytes_from_clients >= traffic.bytes_from_clients,
             "the traffic shrinks"));
  transport->Close();
  transport->Close();
  return ExpectCode(RunRound(*transport, task, cohort).status(),
                    absl::StatusCode::kFailedPrecondition,
                    "RunRound after Close");
}

}  // namespace

void CheckTransport(Suite& suite) {
  suite.Check("it opens, counts its traffic and closes",
              [&] { return CheckLifetime(suite); });
  suite.Check("every client of a cohort does the task exactly once",
              [&] { return CheckCohorts(suite); });
  suite.Check("weights of any size arrive",
              [&] { return CheckPayloads(suite); });
  suite.Check("a failing client is dropped with its cause",
              [&] { return CheckFailingClients(suite); });
  suite.Check("clients keep their states", [&] { return CheckStates(suite); });
  suite.Check("a cancelled round ends and leaves nothing behind",
              [&] { return CheckCancel(suite); });
}

}  // namespace fedlb::conformance
