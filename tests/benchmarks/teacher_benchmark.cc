// The parts of a subspace autoencoder's step, and all of it, for the gradient
// of the model cnn_strided.

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>

#include "fedlb/teacher.h"
#include "fedlb/tensor_list.h"
#include "gradient_subspace.h"
#include "subspace_autoencoder.h"

namespace fedlb {
namespace {

using teacher::BasisPrecision;
using teacher::GradientSubspace;
using teacher::SubspaceAutoencoder;

constexpr int64_t kGroups = 8;
constexpr int64_t kRank = 32;

TensorLayout StridedCnn() {
  return {{"conv1.weight", {16, 1, 5, 5}},  {"conv1.bias", {16}},
          {"conv2.weight", {32, 16, 3, 3}}, {"conv2.bias", {32}},
          {"conv3.weight", {32, 32, 3, 3}}, {"conv3.bias", {32}},
          {"fc1.weight", {64, 512}},        {"fc1.bias", {64}},
          {"fc2.weight", {10, 64}},         {"fc2.bias", {10}}};
}

TensorList RandomList() {
  TensorList tensors;
  for (const TensorSpec& spec : StridedCnn()) {
    tensors.push_back(at::randn(spec.sizes));
  }
  return tensors;
}

GradientSubspace FullSubspace(int64_t numel) {
  at::set_num_threads(1);
  GradientSubspace subspace(kRank, 0.9, numel, at::kFloat,
                            BasisPrecision::kFull);
  for (int i = 0; i < 8; ++i) {
    subspace.Update(at::randn({kGroups, numel}));
  }
  return subspace;
}

constexpr int64_t kNumel = 47786;

void BM_Encode(benchmark::State& state) {
  const GradientSubspace subspace = FullSubspace(kNumel);
  const at::Tensor vector = at::randn({kNumel});
  for (auto _ : state) {
    benchmark::DoNotOptimize(subspace.Encode(vector));
  }
}
BENCHMARK(BM_Encode)->Unit(benchmark::kMicrosecond);

void BM_AddDecoded(benchmark::State& state) {
  const GradientSubspace subspace = FullSubspace(kNumel);
  at::Tensor vector = at::randn({kNumel});
  const std::vector<double> code(kRank, 1e-6);
  for (auto _ : state) {
    subspace.AddDecoded(code, vector);
  }
}
BENCHMARK(BM_AddDecoded)->Unit(benchmark::kMicrosecond);

void BM_Update(benchmark::State& state) {
  GradientSubspace subspace = FullSubspace(kNumel);
  const at::Tensor gradients = at::randn({kGroups, kNumel});
  for (auto _ : state) {
    subspace.Update(gradients);
  }
}
BENCHMARK(BM_Update)->Unit(benchmark::kMicrosecond);

void BM_MapAndObserve(benchmark::State& state) {
  at::set_num_threads(1);
  const std::unique_ptr<SubspaceAutoencoder> teacher =
      SubspaceAutoencoder::Create({}, {}).value();
  if (!teacher->Prepare(StridedCnn()).ok()) {
    state.SkipWithError("cannot prepare");
    return;
  }
  TeacherStep step;
  step.context.lr = 0.1;
  step.context.batch_size = 1024;
  step.small_steps = 16;
  for (int64_t i = 0; i < kGroups; ++i) {
    step.context.partial_means.push_back(RandomList());
  }
  TensorList gradient = RandomList();
  for (auto _ : state) {
    if (!teacher->Map(step, gradient).ok() || !teacher->Observe(step).ok()) {
      state.SkipWithError("cannot map");
      return;
    }
  }
}
BENCHMARK(BM_MapAndObserve)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace fedlb
