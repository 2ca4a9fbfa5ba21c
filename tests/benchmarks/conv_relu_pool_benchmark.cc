// Images per second of the convolution block of `cnn`, forward and backward:
// ConvReluPool against the three operators that it stands for.

#include "models/conv_relu_pool.h"

#include <cstdint>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include "fedlb/memory.h"

namespace fedlb::models {
namespace {

at::Tensor ThreeOperators(const at::Tensor& input, const at::Tensor& weight,
                          const at::Tensor& bias) {
  return at::max_pool2d(at::conv2d(input, weight, bias, 1, 1), 2).relu_();
}

// The second block, whose backward pass also makes the gradient of its input;
// range(0) images.
template <typename F>
void TrainBlock(benchmark::State& state, const F& block) {
  InstallCachingAllocator();
  at::set_num_threads(1);
  const int64_t images = state.range(0);
  const at::Tensor input = at::randn({images, 16, 14, 14}).requires_grad_();
  const at::Tensor weight = at::randn({32, 16, 3, 3}).requires_grad_();
  const at::Tensor bias = at::randn({32}).requires_grad_();
  const at::Tensor gradient = at::randn({images, 32, 7, 7});
  for (auto _ : state) {
    for (const at::Tensor& leaf : {input, weight, bias}) {
      leaf.mutable_grad().reset();
    }
    block(input, weight, bias).backward(gradient);
  }
  state.SetItemsProcessed(state.iterations() * images);
}

void BM_ThreeOperators(benchmark::State& state) {
  TrainBlock(state, ThreeOperators);
}
BENCHMARK(BM_ThreeOperators)->Arg(64)->Arg(1024);

void BM_ConvReluPool(benchmark::State& state) {
  TrainBlock(state, ConvReluPool);
}
BENCHMARK(BM_ConvReluPool)->Arg(64)->Arg(1024);

}  // namespace
}  // namespace fedlb::models
