// The suites of sync policies, batch policies, client algorithms and
// compressors.

#include <cstddef>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "conformance/suite.h"
#include "fedlb/batch_policy.h"
#include "fedlb/client_algorithm.h"
#include "fedlb/compressor.h"
#include "fedlb/sync_policy.h"

namespace fedlb::conformance {
namespace {

TensorLayout WeightLayout() {
  return {{"weight", {20, 5}, at::kFloat}, {"bias", {5}, at::kFloat}};
}

absl::Status CheckPlans(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto policy, suite.Create<SyncPolicy>());
  for (int64_t round = 0; round < 100; ++round) {
    const RoundWork work = policy->Plan(round);
    const RoundWork again = policy->Plan(round);
    FEDLB_RETURN_IF_ERROR(Expect(work.kind == again.kind &&
                                     work.local_steps == again.local_steps &&
                                     work.local_epochs == again.local_epochs,
                                 "two plans of one round differ"));
    if (work.kind == RoundWork::Kind::kLocalSteps) {
      FEDLB_RETURN_IF_ERROR(
          Expect((work.local_steps > 0) != (work.local_epochs > 0),
                 absl::StrCat("round ", round, " plans ", work.local_steps,
                              " steps and ", work.local_epochs,
                              " epochs; exactly one must be positive")));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckBatchSizes(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto policy, suite.Create<BatchPolicy>());
  for (int64_t round = 0; round < 10; ++round) {
    for (int64_t client = 0; client < 10; ++client) {
      FEDLB_ASSIGN_OR_RETURN(const int64_t size,
                             policy->BatchSize(round, client));
      FEDLB_ASSIGN_OR_RETURN(const int64_t again,
                             policy->BatchSize(round, client));
      FEDLB_RETURN_IF_ERROR(
          Expect(size >= 1 && size == again,
                 absl::StrCat("client ", client, " has a batch of ", size)));
    }
    FEDLB_RETURN_IF_ERROR(policy->ObserveRound(round, {{"train_loss", 1.0}}));
  }
  return absl::OkStatus();
}

RoundTask MakeTask() {
  RoundTask task;
  task.work.kind = RoundWork::Kind::kLocalSteps;
  task.work.local_steps = 2;
  task.lr = 0.1;
  task.weights = RandomTensors(WeightLayout(), 1);
  return task;
}

Update MakeUpdate(int64_t client) {
  Update update;
  update.kind = Update::Kind::kDelta;
  update.client = client;
  update.num_examples = 10;
  update.local_steps = 2;
  update.groups[kParametersGroup] =
      RandomTensors(WeightLayout(), 10 + static_cast<uint64_t>(client));
  return update;
}

absl::Status CheckNames(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto algorithm, suite.Create<ClientAlgorithm>());
  RoundTask task = MakeTask();
  FEDLB_RETURN_IF_ERROR(algorithm->PrepareTask(task));
  for (const auto& [name, tensors] : task.aux) {
    FEDLB_RETURN_IF_ERROR(Expect(
        absl::StartsWith(name, "client_algorithm."),
        absl::StrCat("\"", name, "\" does not begin with client_algorithm.")));
  }
  return ExpectSameBits(task.weights, MakeTask().weights,
                        "weights after PrepareTask");
}

// Plays both halves for two clients over two rounds.
absl::StatusOr<TensorList> PlayRounds(ClientAlgorithm& algorithm) {
  std::vector<ClientState> states(2);
  TensorList aggregate;
  for (int64_t round = 0; round < 2; ++round) {
    RoundTask task = MakeTask();
    task.round = round;
    FEDLB_RETURN_IF_ERROR(algorithm.PrepareTask(task));
    std::vector<Update> updates;
    for (int64_t client = 0; client < 2; ++client) {
      const auto seed = static_cast<uint64_t>(100 * round + client);
      const TensorList weights = RandomTensors(WeightLayout(), seed);
      TensorList gradient = RandomTensors(WeightLayout(), seed + 1);
      FEDLB_RETURN_IF_ERROR(
          algorithm.AdjustGradient(task, states[client], weights, gradient));
      FEDLB_RETURN_IF_ERROR(CheckLayout(WeightLayout(), gradient));
      FEDLB_RETURN_IF_ERROR(ExpectFinite(gradient, "an adjusted gradient"));
      updates.push_back(MakeUpdate(client));
      FEDLB_RETURN_IF_ERROR(
          algorithm.AddToUpdate(task, weights, updates.back(), states[client]));
      FEDLB_RETURN_IF_ERROR(
          CheckLayout(WeightLayout(), updates.back().parameters()));
    }
    TensorGroups means;
    for (const auto& [name, tensors] : updates[0].groups) {
      const auto other = updates[1].groups.find(name);
      FEDLB_RETURN_IF_ERROR(
          Expect(other != updates[1].groups.end(),
                 absl::StrCat("only one client sends \"", name, "\"")));
      TensorList mean = Clone(tensors);
      AddScaled(other->second, 1, mean);
      Scale(0.5, mean);
      if (name == kParametersGroup) {
        aggregate = std::move(mean);
      } else {
        means[name] = std::move(mean);
      }
    }
    FEDLB_RETURN_IF_ERROR(
        algorithm.FinishRound({round, 10, 2, &means}, aggregate));
    FEDLB_RETURN_IF_ERROR(CheckLayout(WeightLayout(), aggregate));
    FEDLB_RETURN_IF_ERROR(ExpectFinite(aggregate, "an aggregate"));
  }
  return aggregate;
}

absl::Status CheckRounds(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto first, suite.Create<ClientAlgorithm>());
  FEDLB_ASSIGN_OR_RETURN(auto second, suite.Create<ClientAlgorithm>());
  FEDLB_ASSIGN_OR_RETURN(const TensorList a, PlayRounds(*first));
  FEDLB_ASSIGN_OR_RETURN(const TensorList b, PlayRounds(*second));
  return ExpectSameBits(a, b, "aggregates of two instances");
}

absl::Status CheckClientBytes(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto algorithm, suite.Create<ClientAlgorithm>());
  RoundTask task = MakeTask();
  FEDLB_RETURN_IF_ERROR(algorithm->PrepareTask(task));
  ClientState state;
  Update update = MakeUpdate(0);
  FEDLB_RETURN_IF_ERROR(
      algorithm->AddToUpdate(task, task.weights, update, state));
  int64_t bytes = 0;
  for (const auto& [owner, part] : state.parts) {
    for (const auto& [name, tensors] : part.tensors) {
      bytes += NumBytes(tensors);
    }
  }
  const int64_t declared = algorithm->BytesPerClient(WeightLayout());
  return Expect(bytes <= declared,
                absl::StrCat("a client keeps ", bytes, " bytes where ",
                             declared, " are declared"));
}

absl::Status CheckDecompress(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto compressor, suite.Create<Compressor>());
  ComponentState residual;
  for (int64_t round = 0; round < 3; ++round) {
    Update update = MakeUpdate(round);
    FEDLB_RETURN_IF_ERROR(compressor->Compress(update, residual));
    FEDLB_RETURN_IF_ERROR(compressor->Decompress(WeightLayout(), update));
    FEDLB_RETURN_IF_ERROR(CheckLayout(WeightLayout(), update.parameters()));
    FEDLB_RETURN_IF_ERROR(ExpectFinite(update.parameters(), "an update"));
  }
  int64_t bytes = 0;
  for (const auto& [name, tensors] : residual.tensors) {
    bytes += NumBytes(tensors);
  }
  const int64_t declared = compressor->BytesPerClient(WeightLayout());
  return Expect(bytes <= declared,
                absl::StrCat("the residual takes ", bytes, " bytes where ",
                             declared, " are declared"));
}

// Another layout, and every encoded tensor cut short or missing.
absl::Status CheckBadEncodings(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto compressor, suite.Create<Compressor>());
  const auto encoded = [&]() -> absl::StatusOr<Update> {
    ComponentState residual;
    Update update = MakeUpdate(0);
    FEDLB_RETURN_IF_ERROR(compressor->Compress(update, residual));
    return update;
  };
  FEDLB_ASSIGN_OR_RETURN(const Update good, encoded());
  for (const auto& [name, tensors] : good.groups) {
    if (!absl::StartsWith(name, "compressed.")) {
      continue;
    }
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i].dim() == 0 || tensors[i].size(0) == 0) {
        continue;
      }
      Update bad = good;
      at::Tensor& cut = bad.groups[name][i];
      cut = cut.narrow(0, 0, cut.size(0) - 1);
      FEDLB_RETURN_IF_ERROR(ExpectCode(
          compressor->Decompress(WeightLayout(), bad),
          absl::StatusCode::kInvalidArgument,
          absl::StrCat("Decompress with ", name, "/", i, " cut short")));
    }
    Update bad = good;
    bad.groups.erase(name);
    FEDLB_RETURN_IF_ERROR(
        ExpectCode(compressor->Decompress(WeightLayout(), bad),
                   absl::StatusCode::kInvalidArgument,
                   absl::StrCat("Decompress without ", name)));
  }
  return absl::OkStatus();
}

}  // namespace

void CheckSyncPolicy(Suite& suite) {
  suite.Check("every round has a plan, always the same",
              [&] { return CheckPlans(suite); });
}

void CheckBatchPolicy(Suite& suite) {
  suite.Check("every client has a batch",
              [&] { return CheckBatchSizes(suite); });
}

void CheckClientAlgorithm(Suite& suite) {
  suite.Check("what is broadcast has its owner's name",
              [&] { return CheckNames(suite); });
  suite.Check("rounds keep shapes and repeat",
              [&] { return CheckRounds(suite); });
  suite.Check("a client keeps no more than declared",
              [&] { return CheckClientBytes(suite); });
}

void CheckCompressor(Suite& suite) {
  suite.Check("what is compressed comes back in its layout",
              [&] { return CheckDecompress(suite); });
  suite.Check("encodings that do not decode are refused",
              [&] { return CheckBadEncodings(suite); });
}

}  // namespace fedlb::conformance
