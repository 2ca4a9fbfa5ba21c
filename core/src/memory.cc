#include "fedlb/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <vector>

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define FEDLB_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define FEDLB_ASAN 1
#endif
#endif
#ifndef FEDLB_ASAN
#define FEDLB_ASAN 0
#define ASAN_POISON_MEMORY_REGION(address, size) static_cast<void>(address)
#define ASAN_UNPOISON_MEMORY_REGION(address, size) static_cast<void>(address)
#endif

namespace fedlb {
namespace {

class Pool;

// Stands before the bytes of every allocation: oneDNN hands back a bare
// pointer. Its size is also the alignment that LibTorch promises for data.
struct alignas(64) Block {
  Pool* pool;    // the block returns to it, whichever thread frees it
  Block* next;   // in a list of free blocks
  size_t bytes;  // of the whole block, this header included
  int64_t charged;
  MemoryTag tag;
};
static_assert(sizeof(Block) == 64);

// Blocks come in eight sizes per doubling, multiples of 64 bytes: 64, 128, …,
// 512, 576, …. A rounded-up block wastes an eighth at most, and of that only
// address space where pages are never touched.
constexpr int kSizesPerDoubling = 8;
constexpr int kNumSizes = 40 * kSizesPerDoubling;
constexpr size_t kLargestRequest = size_t{1} << 44;

// From here on blocks are mapped one by one, so that giving one back gives the
// system its pages; smaller ones are malloc's.
constexpr size_t kMappedBytes = size_t{1} << 20;
constexpr size_t kHugePageBytes = size_t{1} << 21;

// What is mapped stays within kLargestShare of the most that tensors held, plus
// kFreeBytes. Blocks of sizes that a step hardly asks for would otherwise pile
// up over the first tens of steps. Tighter bounds make every step map memory
// anew: at 1.25 a step of resnet18 took a quarter longer.
constexpr double kLargestShare = 1.4;
constexpr int64_t kFreeBytes = int64_t{16} << 20;

int SizeIndex(size_t bytes) {
  const size_t units = (bytes + 63) / 64;
  if (units <= kSizesPerDoubling) {
    return static_cast<int>(units) - 1;
  }
  const int shift = std::bit_width(units - 1) - 4;
  return shift * kSizesPerDoubling + static_cast<int>((units - 1) >> shift);
}

size_t SizeAt(int index) {
  if (index < kSizesPerDoubling) {
    return 64 * (static_cast<size_t>(index) + 1);
  }
  const int shift = index / kSizesPerDoubling - 1;
  const size_t unit = index % kSizesPerDoubling + kSizesPerDoubling + 1;
  return 64 * (unit << shift);
}

// A sum that many threads change, and the largest value it ever had.
class alignas(64) PeakCounter {
 public:
  // False, and nothing changed, if the sum would exceed `limit`.
  bool Add(int64_t bytes, int64_t limit) {
    int64_t before = current_.load(std::memory_order_relaxed);
    do {
      if (bytes > limit - before) {
        return false;
      }
    } while (!current_.compare_exchange_weak(before, before + bytes,
                                             std::memory_order_relaxed));
    RaisePeak(before + bytes);
    return true;
  }
  void Add(int64_t bytes) {
    RaisePeak(current_.fetch_add(bytes, std::memory_order_relaxed) + bytes);
  }
  void Subtract(int64_t bytes) {
    current_.fetch_sub(bytes, std::memory_order_relaxed);
  }
  void ResetPeak() { peak_.store(current(), std::memory_order_relaxed); }
  int64_t current() const { return current_.load(std::memory_order_relaxed); }
  int64_t peak() const { return peak_.load(std::memory_order_relaxed); }

 private:
  void RaisePeak(int64_t value) {
    int64_t peak = peak_.load(std::memory_order_relaxed);
    while (value > peak && !peak_.compare_exchange_weak(
                               peak, value, std::memory_order_relaxed)) {
    }
  }

  std::atomic<int64_t> current_{0};
  std::atomic<int64_t> peak_{0};
};

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

thread_local MemoryTag current_tag = MemoryTag::kOther;
PeakCounter total;
std::array<PeakCounter, kNumMemoryTags> by_tag;
std::atomic<int64_t> reserved{0};
std::atomic<int64_t> memory_limit{kNoLimit};

void* MapAligned(size_t bytes) {
  // Huge pages want an aligned start; the ends of a larger mapping are cut.
  const size_t mapped = bytes + kHugePageBytes;
  void* map = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) {
    return nullptr;
  }
  char* const begin = static_cast<char*>(map);
  const auto address = reinterpret_cast<uintptr_t>(map);
  const size_t head =
      (kHugePageBytes - address % kHugePageBytes) % kHugePageBytes;
  const size_t tail = kHugePageBytes - head;
  if (head > 0) {
    munmap(begin, head);
  }
  if (tail > 0) {
    munmap(begin + head + bytes, tail);
  }
  if (bytes >= kHugePageBytes) {
    // Only advice: without huge pages the block works too.
    static_cast<void>(madvise(begin + head, bytes, MADV_HUGEPAGE));
  }
  return begin + head;
}

// Null if the system has no memory.
Block* TakeFromSystem(size_t bytes) {
  const bool mapped = !FEDLB_ASAN && bytes >= kMappedBytes;
  void* memory = mapped ? MapAligned(bytes) : std::aligned_alloc(64, bytes);
  if (memory == nullptr) {
    return nullptr;
  }
  reserved.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
  Block* block = new (memory) Block{};
  block->bytes = bytes;
  return block;
}

void GiveToSystem(Block* block) {
  reserved.fetch_sub(static_cast<int64_t>(block->bytes),
                     std::memory_order_relaxed);
  if (!FEDLB_ASAN && block->bytes >= kMappedBytes) {
    munmap(block, block->bytes);
  } else {
    std::free(block);
  }
}

void GiveAllToSystem(Block* list) {
  while (list != nullptr) {
    Block* const next = list->next;
    GiveToSystem(list);
    list = next;
  }
}

// Free blocks of one thread, by size. Thread-safe, because other threads free
// blocks of this pool; its own thread hardly ever finds the lock taken.
//
// The lock is std::mutex and not absl::Mutex: ThreadSanitizer does not see into
// a shared Abseil that was built without it.
class Pool {
 public:
  // The smallest free block that is not much too large, or null. In that case
  // `*spare` is a list of blocks that the caller gives back: smaller ones,
  // about as many bytes as the new block will have, so that the pool follows a
  // batch size that grows and does not keep the blocks of every size it ever
  // saw; and the largest ones where too much would be mapped.
  Block* Take(int index, Block** spare) {
    const bool large = SizeAt(index) >= kMappedBytes;
    // A short last batch uses the blocks of a full one down to a quarter. Small
    // blocks are kept for their own size: they may be long-lived.
    const int reach = large ? 2 * kSizesPerDoubling : 2;
    const int end = std::min(index + reach + 1, kNumSizes);
    const std::lock_guard<std::mutex> lock(mutex_);
    const int found = NextUsed(index, end);
    if (found < end) {
      return Pop(found);
    }
    if (large) {
      *spare = nullptr;
      const size_t bytes = SizeAt(index);
      const size_t popped = PopMapped(index - 1, bytes, spare);
      const auto allowed =
          static_cast<int64_t>(kLargestShare *
                               static_cast<double>(total.peak())) +
          kFreeBytes;
      const int64_t excess = reserved.load(std::memory_order_relaxed) +
                             static_cast<int64_t>(bytes) -
                             static_cast<int64_t>(popped) - allowed;
      if (excess > 0) {
        PopMapped(kNumSizes - 1, static_cast<size_t>(excess), spare);
      }
    }
    return nullptr;
  }

  void Put(Block* block) {
    const int index = SizeIndex(block->bytes);
    const std::lock_guard<std::mutex> lock(mutex_);
    block->next = free_[index];
    free_[index] = block;
    used_[index / 64] |= uint64_t{1} << (index % 64);
  }

  // All free blocks, as a list.
  Block* PopAll() {
    const std::lock_guard<std::mutex> lock(mutex_);
    Block* list = nullptr;
    for (int i = NextUsed(0, kNumSizes); i < kNumSizes;
         i = NextUsed(i, kNumSizes)) {
      Block* const block = Pop(i);
      block->next = list;
      list = block;
    }
    return list;
  }

 private:
  // The first size in [begin, end) of which there is a block, or `end`.
  int NextUsed(int begin, int end) const {
    for (int i = begin; i < end; i = (i / 64 + 1) * 64) {
      const uint64_t word = used_[i / 64] >> (i % 64);
      if (word != 0) {
        return std::min(i + std::countr_zero(word), end);
      }
    }
    return end;
  }

  Block* Pop(int index) {
    Block* const block = free_[index];
    free_[index] = block->next;
    if (block->next == nullptr) {
      used_[index / 64] &= ~(uint64_t{1} << (index % 64));
    }
    return block;
  }

  // Moves mapped blocks to the list, the largest first, from size `index` down
  // until they are `wanted` bytes; returns how many bytes they are.
  size_t PopMapped(int index, size_t wanted, Block** list) {
    size_t bytes = 0;
    for (int i = index; SizeAt(i) >= kMappedBytes; --i) {
      while (free_[i] != nullptr && bytes < wanted) {
        Block* const block = Pop(i);
        bytes += block->bytes;
        block->next = *list;
        *list = block;
      }
    }
    return bytes;
  }

  std::mutex mutex_;
  std::array<Block*, kNumSizes> free_{};
  std::array<uint64_t, (kNumSizes + 63) / 64> used_{};
};

// All pools there ever were. A pool outlives its thread, since blocks may, and
// serves the next thread that starts.
class PoolRegistry {
 public:
  Pool* Lease() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.empty()) {
      idle_.reserve(pools_.size() + 1);
      pools_.push_back(new Pool);
      return pools_.back();
    }
    Pool* const pool = idle_.back();
    idle_.pop_back();
    return pool;
  }

  // Does not allocate: Lease has reserved a place for every pool.
  void Return(Pool* pool) {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(pool);
  }

  void GiveBackFreeBlocks() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Pool* pool : pools_) {
      GiveAllToSystem(pool->PopAll());
    }
  }

 private:
  std::mutex mutex_;
  std::vector<Pool*> pools_;
  std::vector<Pool*> idle_;
};

// Never destroyed: tensors in static variables are freed after main.
PoolRegistry& Registry() {
  static PoolRegistry* const registry = new PoolRegistry;
  return *registry;
}

// Null before the thread's first allocation. A bare pointer, because
// destructors of other thread-local objects still allocate after the lease has
// ended: they go on with the returned pool, which any thread may use.
thread_local Pool* thread_pool = nullptr;

class PoolLease {
 public:
  PoolLease() { thread_pool = Registry().Lease(); }
  ~PoolLease() { Registry().Return(thread_pool); }
};

Pool& ThreadPool() {
  if (thread_pool == nullptr) {
    static thread_local PoolLease lease;
  }
  return *thread_pool;
}

// A block of the pool or of the system; null if there is none.
Block* TakeBlock(size_t request) {
  const int index = SizeIndex(request + sizeof(Block));
  const size_t bytes = SizeAt(index);
  Pool& pool = ThreadPool();
  Block* spare = nullptr;
  Block* block = pool.Take(index, &spare);
  if (block == nullptr) {
    GiveAllToSystem(spare);
    if (static_cast<int64_t>(bytes) >
        memory_limit.load(std::memory_order_relaxed) -
            reserved.load(std::memory_order_relaxed)) {
      Registry().GiveBackFreeBlocks();
    }
    block = TakeFromSystem(bytes);
    if (block == nullptr) {
      Registry().GiveBackFreeBlocks();
      block = TakeFromSystem(bytes);
    }
    if (block == nullptr) {
      return nullptr;
    }
  }
  block->pool = &pool;
  return block;
}

void Free(void* data) {
  if (data == nullptr) {
    return;
  }
  Block* const block = static_cast<Block*>(data) - 1;
  ASAN_UNPOISON_MEMORY_REGION(block, sizeof(Block));
  total.Subtract(block->charged);
  by_tag[static_cast<size_t>(block->tag)].Subtract(block->charged);
  if (FEDLB_ASAN) {
    GiveToSystem(block);
  } else {
    block->pool->Put(block);
  }
}

void* Allocate(size_t request) {
  if (request == 0) {
    return nullptr;
  }
  const auto charged =
      static_cast<int64_t>(std::min(request, kLargestRequest + 1));
  const int64_t limit = memory_limit.load(std::memory_order_relaxed);
  if (!total.Add(charged, limit)) {
    throw MemoryLimitExceeded(charged, total.current(), limit);
  }
  Block* const block = request > kLargestRequest ? nullptr : TakeBlock(request);
  if (block == nullptr) {
    total.Subtract(charged);
    throw MemoryLimitExceeded(charged, total.current(), 0);
  }
  block->charged = charged;
  block->tag = current_tag;
  by_tag[static_cast<size_t>(block->tag)].Add(charged);
  char* const data = reinterpret_cast<char*>(block + 1);
  ASAN_POISON_MEMORY_REGION(data + request,
                            block->bytes - sizeof(Block) - request);
  ASAN_POISON_MEMORY_REGION(block, sizeof(Block));
  return data;
}

class CachingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* const data = Allocate(bytes);
    return {data, data, &Free, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
};

}  // namespace

const char* MemoryTagName(MemoryTag tag) {
  switch (tag) {
    case MemoryTag::kOther:
      return "other";
    case MemoryTag::kParameters:
      return "parameters";
    case MemoryTag::kGradients:
      return "gradients";
    case MemoryTag::kOptimizer:
      return "optimizer";
    case MemoryTag::kActivations:
      return "activations";
    case MemoryTag::kBatch:
      return "batch";
  }
  return "unknown";
}

MemoryTagScope::MemoryTagScope(MemoryTag tag) : previous_(current_tag) {
  current_tag = tag;
}

MemoryTagScope::~MemoryTagScope() { current_tag = previous_; }

void TagTensorMemory(const at::Tensor& tensor, MemoryTag tag) {
  if (!tensor.has_storage()) {
    return;
  }
  const c10::DataPtr& pointer = tensor.storage().data_ptr();
  if (pointer.get() == nullptr || pointer.get_deleter() != &Free) {
    return;
  }
  Block* const block = static_cast<Block*>(pointer.get_context()) - 1;
  ASAN_UNPOISON_MEMORY_REGION(block, sizeof(Block));
  by_tag[static_cast<size_t>(block->tag)].Subtract(block->charged);
  block->tag = tag;
  by_tag[static_cast<size_t>(tag)].Add(block->charged);
  ASAN_POISON_MEMORY_REGION(block, sizeof(Block));
}

MemoryLimitExceeded::MemoryLimitExceeded(int64_t requested, int64_t held,
                                         int64_t limit) {
  const auto bytes = [](int64_t n) { return static_cast<long long>(n); };
  if (limit > 0) {
    std::snprintf(message_.data(), message_.size(),
                  "a tensor of %lld bytes, with %lld bytes held, exceeds the "
                  "memory limit of %lld bytes",
                  bytes(requested), bytes(held), bytes(limit));
  } else {
    std::snprintf(message_.data(), message_.size(),
                  "the system has no memory for a tensor of %lld bytes, with "
                  "%lld bytes held",
                  bytes(requested), bytes(held));
  }
}

void InstallCachingAllocator() {
  // Never destroyed, like the pools: its blocks outlive main.
  static CachingAllocator* const allocator = [] {
    auto* const created = new CachingAllocator;
    c10::SetCPUAllocator(created, std::numeric_limits<uint8_t>::max());
    return created;
  }();
  static_cast<void>(allocator);
}

MemoryStats GetMemoryStats() {
  MemoryStats stats;
  for (size_t i = 0; i < by_tag.size(); ++i) {
    stats.current[i] = by_tag[i].current();
    stats.peak[i] = by_tag[i].peak();
  }
  stats.current_total = total.current();
  stats.peak_total = total.peak();
  stats.reserved = reserved.load(std::memory_order_relaxed);
  return stats;
}

void ResetPeakMemory() {
  total.ResetPeak();
  for (PeakCounter& counter : by_tag) {
    counter.ResetPeak();
  }
}

void SetMemoryLimit(int64_t bytes) {
  memory_limit.store(bytes > 0 ? bytes : kNoLimit, std::memory_order_relaxed);
}

void ExpectFilling(const void* data, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const uintptr_t first =
      (begin + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
  const uintptr_t last = (begin + bytes) / kHugePageBytes * kHugePageBytes;
  if (first < last) {
    static_cast<void>(madvise(reinterpret_cast<void*>(first), last - first,
                              MADV_HUGEPAGE));
  }
}

void ReleaseCachedMemory() { Registry().GiveBackFreeBlocks(); }

}  // namespace fedlb
