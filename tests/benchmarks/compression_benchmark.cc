// Compressors on 25 million parameters, beside memcpy and torch.topk.

#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/topk.h>
#include <benchmark/benchmark.h>

#include "absl/status/status.h"
#include "compression/half.h"
#include "compression/int8.h"
#include "compression/powersgd.h"
#include "compression/qsgd.h"
#include "compression/randomk.h"
#include "compression/signsgd.h"
#include "compression/terngrad.h"
#include "compression/topk.h"
#include "fedlb/round_task.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

constexpr int64_t kParameters = 25'000'000;

const at::Tensor& Gradient() {
  static const at::Tensor gradient = at::randn({5000, kParameters / 5000});
  return gradient;
}

void CheckOk(const absl::Status& status) {
  if (!status.ok()) {
    throw std::runtime_error(status.ToString());
  }
}

Update MakeUpdate() {
  Update update;
  update.groups[kParametersGroup] = {Gradient()};
  return update;
}

template <typename C>
void RunCompress(benchmark::State& state, const std::string& options) {
  const auto compressor = Make<C>(options);
  ComponentState residual;
  for (auto _ : state) {
    Update update = MakeUpdate();
    CheckOk(compressor->Compress(update, residual));
    benchmark::DoNotOptimize(update);
  }
  state.SetBytesProcessed(state.iterations() * kParameters * 4);
}

template <typename C>
void RunDecompress(benchmark::State& state, const std::string& options) {
  const auto compressor = Make<C>(options);
  ComponentState residual;
  Update encoded = MakeUpdate();
  CheckOk(compressor->Compress(encoded, residual));
  for (auto _ : state) {
    Update update = encoded;
    CheckOk(compressor->Decompress(
        {{"w", Gradient().sizes().vec(), at::kFloat}}, update));
    benchmark::DoNotOptimize(update);
  }
  state.SetBytesProcessed(state.iterations() * kParameters * 4);
}

// As much is read and written as there are parameters.
void BM_Memcpy(benchmark::State& state) {
  const at::Tensor& from = Gradient();
  at::Tensor to = at::empty_like(from);
  for (auto _ : state) {
    std::memcpy(to.mutable_data_ptr(), from.const_data_ptr(), from.nbytes());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * kParameters * 4);
}
BENCHMARK(BM_Memcpy)->Unit(benchmark::kMillisecond);

void BM_TopKByTorch(benchmark::State& state) {
  const at::Tensor gradient = Gradient().reshape({-1});
  for (auto _ : state) {
    const at::Tensor indices =
        std::get<1>(gradient.abs().topk(kParameters / 100));
    benchmark::DoNotOptimize(gradient.index({indices}));
  }
  state.SetBytesProcessed(state.iterations() * kParameters * 4);
}
BENCHMARK(BM_TopKByTorch)->Unit(benchmark::kMillisecond);

template <typename C>
void Register(const std::string& name, const std::string& options) {
  benchmark::RegisterBenchmark(
      ("Compress/" + name).c_str(),
      [options](benchmark::State& state) { RunCompress<C>(state, options); })
      ->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark(
      ("Decompress/" + name).c_str(),
      [options](benchmark::State& state) { RunDecompress<C>(state, options); })
      ->Unit(benchmark::kMillisecond);
}

const bool kRegistered = [] {
  using namespace compression;
  Register<TopK>("topk", "error_feedback = false");
  Register<TopK>("topk_with_feedback", "");
  Register<RandomK>("randomk", "unbiased = true");
  Register<Int8>("int8", "");
  Register<SignSgd>("signsgd", "error_feedback = false");
  Register<SignSgd>("signsgd_with_feedback", "");
  Register<Qsgd>("qsgd", "");
  Register<Qsgd>("qsgd_4_bits", "levels = 7");
  Register<TernGrad>("terngrad", "");
  Register<Half>("bf16", "");
  Register<PowerSgd>("powersgd_rank_4", "error_feedback = false");
  return true;
}();

}  // namespace
}  // namespace fedlb
