// What a step of an optimizer costs for each parameter.

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <benchmark/benchmark.h>

#include "fedlb/component.h"
#include "fedlb/optimizer.h"
#include "fedlb/tensor_list.h"
#include "optim/adam.h"
#include "optim/adamw.h"
#include "optim/lamb.h"
#include "optim/lars.h"
#include "optim/sgd.h"

namespace fedlb {
namespace {

// A million parameters in four layers of one size.
TensorList Layers(double value) {
  TensorList layers;
  for (int i = 0; i < 4; ++i) {
    layers.push_back(at::full({250, 1000}, value, at::kFloat));
  }
  return layers;
}

template <typename C>
void Steps(benchmark::State& state, const typename C::Options& options) {
  const std::unique_ptr<Optimizer> optimizer =
      C::Create(options, ComponentContext()).value();
  TensorList weights = Layers(0.5);
  const TensorList gradient = Layers(0.01);
  for (auto _ : state) {
    const bool ok = optimizer->Step(gradient, 1e-6, weights).ok();
    benchmark::DoNotOptimize(ok);
  }
  const int64_t parameters = NumElements(weights) * state.iterations();
  state.SetItemsProcessed(parameters);
  state.counters["time_per_parameter"] = benchmark::Counter(
      static_cast<double>(parameters),
      benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void BM_SgdStep(benchmark::State& state) { Steps<optim::Sgd>(state, {}); }
BENCHMARK(BM_SgdStep);

void BM_SgdMomentumStep(benchmark::State& state) {
  Steps<optim::Sgd>(state, {.momentum = 0.9});
}
BENCHMARK(BM_SgdMomentumStep);

void BM_AdamStep(benchmark::State& state) { Steps<optim::Adam>(state, {}); }
BENCHMARK(BM_AdamStep);

void BM_AdamWStep(benchmark::State& state) { Steps<optim::AdamW>(state, {}); }
BENCHMARK(BM_AdamWStep);

void BM_LarsStep(benchmark::State& state) {
  Steps<optim::Lars>(state, {.weight_decay = 1e-4});
}
BENCHMARK(BM_LarsStep);

void BM_LambStep(benchmark::State& state) { Steps<optim::Lamb>(state, {}); }
BENCHMARK(BM_LambStep);

}  // namespace
}  // namespace fedlb
