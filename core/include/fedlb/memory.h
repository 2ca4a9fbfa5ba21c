// The CPU allocator: caches blocks, counts bytes by purpose, keeps a limit.

#ifndef FEDLB_MEMORY_H_
#define FEDLB_MEMORY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>

#include <ATen/core/Tensor.h>

#include "fedlb/export.h"

namespace fedlb {

// What a tensor's memory is for.
enum class MemoryTag : uint8_t {
  kOther,
  kParameters,
  kGradients,
  kOptimizer,
  kActivations,  // forward pass and the temporaries of the backward pass
  kBatch,        // inputs and targets
};
inline constexpr int kNumMemoryTags = 6;
FEDLB_API const char* MemoryTagName(MemoryTag tag);

// Tags the allocations of this thread until the scope ends. Scopes nest.
class FEDLB_API MemoryTagScope {
 public:
  explicit MemoryTagScope(MemoryTag tag);
  ~MemoryTagScope();
  MemoryTagScope(const MemoryTagScope&) = delete;
  MemoryTagScope& operator=(const MemoryTagScope&) = delete;

 private:
  MemoryTag previous_;
};

// Counts the memory behind `tensor` under `tag` from here on: for an operation
// that allocates for several purposes, as a backward pass does. Memory of
// another allocator is left alone.
FEDLB_API void TagTensorMemory(const at::Tensor& tensor, MemoryTag tag);

struct MemoryStats {
  // Bytes that tensors asked for, now and at most since ResetPeakMemory. Exact:
  // peak_total is the largest sum over all threads that existed at one moment.
  std::array<int64_t, kNumMemoryTags> current{};
  std::array<int64_t, kNumMemoryTags> peak{};  // each tag's own peak
  int64_t current_total = 0;
  int64_t peak_total = 0;
  // Bytes of blocks taken from the system, free ones included.
  int64_t reserved = 0;
};

// An allocation beyond the memory limit, or one that the system refused.
class FEDLB_API MemoryLimitExceeded : public std::bad_alloc {
 public:
  // `limit` 0: the system refused.
  MemoryLimitExceeded(int64_t requested, int64_t held, int64_t limit);
  // Names all three. Kept inline, since there may be no memory for it.
  const char* what() const noexcept override { return message_.data(); }

 private:
  std::array<char, 160> message_{};
};

// Makes this the allocator of all CPU tensors from now on; later calls do
// nothing. LibTorch's functions and oneDNN's scratch memory come through it
// too. Blocks that are freed stay with the pool of the thread that took them
// and are reused by it, so that a training step takes no page faults. What is
// taken from the system stays within the most that tensors held at once and a
// few MiB: beyond that, a large block is made of the pages of free blocks of
// other sizes, which move without a copy. Call it before other threads run;
// tensors made earlier stay valid. Built with AddressSanitizer nothing is
// cached, so that a use after free is seen.
FEDLB_API void InstallCachingAllocator();

// All threads together. Thread-safe.
FEDLB_API MemoryStats GetMemoryStats();
FEDLB_API void ResetPeakMemory();

// Bytes that tensors may hold at once, 0 for no limit. An allocation beyond it
// throws MemoryLimitExceeded and leaves everything intact. Cached blocks are
// given back before they would lift `reserved` over the limit.
FEDLB_API void SetMemoryLimit(int64_t bytes);

// For a large buffer beside the tensors that is about to be filled for the
// first time: asks the system for large pages, of which it then clears and maps
// one where it would 512 small ones. Nothing changes for small buffers.
FEDLB_API void ExpectFilling(const void* data, size_t bytes);

// Gives cached blocks back to the system.
FEDLB_API void ReleaseCachedMemory();

}  // namespace fedlb

#endif  // FEDLB_MEMORY_H_
