// Robust rules over 30 updates, beside the same with LibTorch's operators.

#include <cstdint>
#include <tuple>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cdist.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/stack.h>
#include <benchmark/benchmark.h>

#include "aggregation/row_kernels.h"

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

template <typename Rule>
void Run(benchmark::State& state, const Rule& rule) {
  const std::vector<at::Tensor> rows = Updates();
  for (auto _ : state) {
    benchmark::DoNotOptimize(rule(rows));
  }
  state.SetBytesProcessed(state.iterations() * kUpdates * kParameters * 4);
}

void BM_Median(benchmark::State& state) {
  Run(state, [](const auto& rows) { return aggregation::Median(rows); });
}
BENCHMARK(BM_Median)->Unit(benchmark::kMillisecond);

void BM_MedianByTorchSort(benchmark::State& state) {
  Run(state, [](const auto& rows) {
    const at::Tensor sorted = std::get<0>(at::sort(at::stack(rows), 0));
    return sorted[kUpdates / 2 - 1].add(sorted[kUpdates / 2]).div(2);
  });
}
BENCHMARK(BM_MedianByTorchSort)->Unit(benchmark::kMillisecond);

void BM_TrimmedMean(benchmark::State& state) {
  Run(state,
      [](const auto& rows) { return aggregation::TrimmedMean(rows, 6); });
}
BENCHMARK(BM_TrimmedMean)->Unit(benchmark::kMillisecond);

void BM_KrumDistances(benchmark::State& state) {
  Run(state, [](const auto& rows) {
    return aggregation::SquaredDistances(rows)[0][1];
  });
}
BENCHMARK(BM_KrumDistances)->Unit(benchmark::kMillisecond);

// Of differences, too, but in float.
void BM_KrumDistancesByTorchCdist(benchmark::State& state) {
  Run(state, [](const auto& rows) {
    const at::Tensor stacked = at::stack(rows);
    return at::cdist(stacked, stacked, 2, /*compute_mode=*/2);
  });
}
BENCHMARK(BM_KrumDistancesByTorchCdist)->Unit(benchmark::kMillisecond);

void BM_WeightedSum(benchmark::State& state) {
  const std::vector<double> weights(kUpdates, 1.0 / kUpdates);
  Run(state, [&](const auto& rows) {
    return aggregation::WeightedSum(rows, weights);
  });
}
BENCHMARK(BM_WeightedSum)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fedlb
