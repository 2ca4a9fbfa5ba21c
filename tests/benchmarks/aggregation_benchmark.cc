// Robust rules over 30 updates, beside the same with LibTorch's operators.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cdist.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/stack.h>
#include <benchmark/benchmark.h>

#include "absl/status/status.h"
#include "aggregation/krum.h"
#include "aggregation/mean.h"
#include "aggregation/median.h"
#include "aggregation/trimmed_mean.h"
#include "fedlb/round_task.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

constexpr int64_t kUpdates = 30;
constexpr int64_t kParameters = int64_t{1} << 21;

std::vector<at::Tensor> Updates() {
  std::vector<at::Tensor> rows;
  for (int64_t k = 0; k < kUpdates; ++k) {
    rows.push_back(at::randn({kParameters}));
  }
  return rows;
}

void CheckOk(const absl::Status& status) {
  if (!status.ok()) {
    throw std::runtime_error(status.ToString());
  }
}

// Everything that a server does with the updates of a round.
template <typename Rule>
void RunRule(benchmark::State& state, const std::string& options) {
  const std::vector<at::Tensor> rows = Updates();
  const auto rule = Make<Rule>(options);
  Update update;
  update.num_examples = 1;
  for (auto _ : state) {
    CheckOk(rule->Begin({{"w", {kParameters}, at::kFloat}}));
    for (const at::Tensor& row : rows) {
      update.groups[kParametersGroup] = {row};
      CheckOk(rule->Add(update));
    }
    benchmark::DoNotOptimize(rule->Finish().value());
  }
  state.SetBytesProcessed(state.iterations() * kUpdates * kParameters * 4);
}

template <typename Body>
void RunPeer(benchmark::State& state, const Body& body) {
  const std::vector<at::Tensor> rows = Updates();
  for (auto _ : state) {
    benchmark::DoNotOptimize(body(rows));
  }
  state.SetBytesProcessed(state.iterations() * kUpdates * kParameters * 4);
}

void BM_Mean(benchmark::State& state) {
  RunRule<aggregation::Mean>(state, "");
}
BENCHMARK(BM_Mean)->Unit(benchmark::kMillisecond);

void BM_MeanByTorch(benchmark::State& state) {
  RunPeer(state, [](const auto& rows) { return at::stack(rows).mean(0); });
}
BENCHMARK(BM_MeanByTorch)->Unit(benchmark::kMillisecond);

void BM_Median(benchmark::State& state) {
  RunRule<aggregation::CoordinateMedian>(state, "");
}
BENCHMARK(BM_Median)->Unit(benchmark::kMillisecond);

void BM_MedianByTorchSort(benchmark::State& state) {
  RunPeer(state, [](const auto& rows) {
    const at::Tensor sorted = std::get<0>(at::sort(at::stack(rows), 0));
    return sorted[kUpdates / 2 - 1].add(sorted[kUpdates / 2]).div(2);
  });
}
BENCHMARK(BM_MedianByTorchSort)->Unit(benchmark::kMillisecond);

void BM_TrimmedMean(benchmark::State& state) {
  RunRule<aggregation::TrimmedMeanRule>(state, "trim = 0.2");
}
BENCHMARK(BM_TrimmedMean)->Unit(benchmark::kMillisecond);

void BM_Krum(benchmark::State& state) {
  RunRule<aggregation::Krum>(state, "byzantine = 6");
}
BENCHMARK(BM_Krum)->Unit(benchmark::kMillisecond);

// Of differences, too, but in float; distances only.
void BM_KrumDistancesByTorchCdist(benchmark::State& state) {
  RunPeer(state, [](const auto& rows) {
    const at::Tensor stacked = at::stack(rows);
    return at::cdist(stacked, stacked, 2, /*compute_mode=*/2);
  });
}
BENCHMARK(BM_KrumDistancesByTorchCdist)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fedlb
