// A thousand clients with tokens, threads of this program, against a server
// process: every update counts once, and neither memory nor threads grow.
// FEDLB_LOAD_SECONDS says how long (600), FEDLB_LOAD_CLIENTS how many.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ops/full.h>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "cli/process.h"
#include "fedlb/round_task.h"
#include "fedlb/safetensors.h"
#include "gtest/gtest.h"
#include "thrift/refusal.h"
#include "thrift/server_link.h"
#include "transports/live_server.h"

namespace fedlb::thrift {
namespace {

using Json = nlohmann::json;

int64_t FromEnvironment(const char* name, int64_t otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : std::atoll(text);
}

// Client k adds k to every weight.
std::string UpdateBytes(const RoundTask& task, int64_t client) {
  Update update;
  update.kind = Update::Kind::kDelta;
  update.round = task.round;
  update.client = client;
  update.num_examples = update.num_samples = 1;
  update.local_steps = 1;
  TensorList& parameters = update.groups[kParametersGroup];
  for (const at::Tensor& weight : task.weights) {
    parameters.push_back(at::full(weight.sizes(), static_cast<float>(client)));
  }
  return *EncodeUpdate(update);
}

// Answers tasks until the run is over.
void Participate(const Endpoint& server, int64_t client,
                 std::atomic<int64_t>& sent, std::atomic<int>& failed) {
  ServerLinkOptions options;
  options.server = server;
  options.clients = {client};
  options.token = "the-token-of-the-load-test";
  const auto link = ServerLink::Connect(options, nullptr, Logger::Null());
  if (!link.ok()) {
    std::cerr << link.status() << "\n";
    ++failed;
    return;
  }
  for (;;) {
    const auto notice = (*link)->Poll();
    if (!notice.ok()) {
      std::cerr << notice.status() << "\n";
      ++failed;
      return;
    }
    if (notice->kind == wire::NoticeKind::FINISHED) {
      (*link)->Leave();
      return;
    }
    if (notice->kind != wire::NoticeKind::TASK) {
      continue;
    }
    const auto task = (*link)->Fetch(*notice);
    const absl::Status status =
        task.ok()
            ? (*link)->Send(client, notice->task, UpdateBytes(*task, client))
            : task.status();
    if (!status.ok()) {
      std::cerr << status << "\n";
      ++failed;
      return;
    }
    ++sent;
  }
}

TEST(LoadTest, EveryUpdateCountsOnceAndNothingGrows) {
  const int64_t seconds = FromEnvironment("FEDLB_LOAD_SECONDS", 600);
  const int64_t clients = FromEnvironment("FEDLB_LOAD_CLIENTS", 1000);
  const testing::TemporaryFolder folder;
  const std::string token_file = folder.path() + "/tokens";
  std::ofstream(token_file) << "the-token-of-the-load-test\n";
  const auto set = [](const std::string& setting) {
    return std::vector<std::string>{"--set", setting};
  };
  std::vector<std::string> argv = {FEDLB_TEST_BINARY,
                                   "train",
                                   "-q",
                                   "--format",
                                   "json",
                                   "-c",
                                   FEDLB_TEST_SOURCE_DIR "/configs/smoke.toml",
                                   "--listen",
                                   "unix:server",
                                   "-o",
                                   "run"};
  for (const std::string& setting :
       {absl::StrCat("federation.clients=", clients),
        absl::StrCat("federation.cohort_size=", clients),
        absl::StrCat("dataset.train_size=", 4 * clients),
        std::string("partitioner.name=iid"), std::string("rounds=1000000"),
        absl::StrCat("stopping.max_seconds=", seconds),
        std::string("evaluation.every_rounds=1000000"),
        std::string("checkpoint.every_rounds=50"),
        std::string("transport.join_seconds=300"),
        std::string("transport.token_file=tokens")}) {
    for (std::string& word : set(setting)) {
      argv.push_back(std::move(word));
    }
  }
  testing::Process server(argv, folder.path());
  Endpoint endpoint;
  endpoint.path = folder.path() + "/server";

  std::atomic<int64_t> sent = 0;
  std::atomic<int> failed = 0;
  std::vector<std::thread> threads;
  for (int64_t client = 0; client < clients; ++client) {
    threads.emplace_back(
        [&, client] { Participate(endpoint, client, sent, failed); });
  }
  std::vector<int64_t> memory;
  std::vector<int64_t> server_threads;
  while (sent < 3 * clients && failed == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  for (int64_t second = 0; second < seconds * 8 / 10; ++second) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    memory.push_back(FromStatus(server.pid(), "VmRSS:"));
    server_threads.push_back(FromStatus(server.pid(), "Threads:"));
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const testing::ProcessResult end = server.Wait(120);
  ASSERT_EQ(end.exit_code, 0) << end.err;
  EXPECT_EQ(failed, 0);
  const Json result = Json::parse(end.out).at("data");
  const auto rounds = result.at("rounds").get<int64_t>();
  EXPECT_EQ(result.at("samples"), rounds * clients);
  EXPECT_EQ(sent, rounds * clients);
  EXPECT_EQ(result.at("dropped_updates"), 0);

  // The mean over the clients, round for round, was added to every weight.
  const auto weights =
      ReadSafetensors(folder.path() + "/run/weights.safetensors");
  ASSERT_TRUE(weights.ok()) << weights.status();
  const double wanted =
      static_cast<double>(rounds) * static_cast<double>(clients - 1) / 2;
  for (const auto& [name, tensor] : weights->tensors) {
    EXPECT_NEAR(tensor.mean().item<double>(), wanted, 1e-4 * wanted) << name;
  }

  ASSERT_GT(memory.size(), 4u);
  const auto mean_of = [](auto first, auto last) {
    double sum = 0;
    for (auto it = first; it != last; ++it) {
      sum += static_cast<double>(*it);
    }
    return sum / static_cast<double>(last - first);
  };
  const auto quarter = static_cast<std::ptrdiff_t>(memory.size() / 4);
  const double early =
      mean_of(memory.begin() + quarter, memory.begin() + 2 * quarter);
  const double late = mean_of(memory.end() - quarter, memory.end());
  EXPECT_LT(late, 1.05 * early + 8192);
  EXPECT_LE(server_threads.back(), server_threads.front() + 8);
  std::cout << rounds << " rounds of " << clients << " clients, " << sent
            << " updates; " << early / 1024 << " MiB, later " << late / 1024
            << " MiB; " << server_threads.back() << " threads\n";
}

}  // namespace
}  // namespace fedlb::thrift
