// What an allocation costs: with malloc, and with the caching allocator.

#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include "fedlb/memory.h"

namespace fedlb {
namespace {

c10::Allocator& Caching() {
  InstallCachingAllocator();
  return *c10::GetCPUAllocator();
}

// One block of range(0) bytes, all of whose pages are written.
void TakeTouchFree(benchmark::State& state, c10::Allocator& allocator) {
  const int64_t bytes = state.range(0);
  for (auto _ : state) {
    auto* const data = static_cast<char*>(allocator.raw_allocate(bytes));
    for (int64_t i = 0; i < bytes; i += 4096) {
      data[i] = 1;
    }
    benchmark::DoNotOptimize(data);
    allocator.raw_deallocate(data);
  }
}

void BM_MallocTakeTouchFree(benchmark::State& state) {
  TakeTouchFree(state, *c10::GetDefaultCPUAllocator());
}
BENCHMARK(BM_MallocTakeTouchFree)->RangeMultiplier(16)->Range(256, 64 << 20);

void BM_CachingTakeTouchFree(benchmark::State& state) {
  TakeTouchFree(state, Caching());
}
BENCHMARK(BM_CachingTakeTouchFree)
    ->RangeMultiplier(16)
    ->Range(256, 64 << 20)
    ->ThreadRange(1, 2);

// The tensors of a training step: taken one after the other, freed in reverse.
void BM_CachingStep(benchmark::State& state) {
  c10::Allocator& allocator = Caching();
  std::vector<void*> blocks(64);
  for (auto _ : state) {
    for (size_t i = 0; i < blocks.size(); ++i) {
      blocks[i] = allocator.raw_allocate(1000 * (1 + i * i));
    }
    for (size_t i = blocks.size(); i-- > 0;) {
      allocator.raw_deallocate(blocks[i]);
    }
  }
  state.SetItemsProcessed(state.iterations() *
                          static_cast<int64_t>(blocks.size()));
}
BENCHMARK(BM_CachingStep)->ThreadRange(1, 2);

}  // namespace
}  // namespace fedlb
