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

#include "page_mapping.h"

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
  size_t bytes;  // behind this header
  int64_t charged;
  int size_index;  // of the largest size that it serves
  MemoryTag tag;
};
static_assert(sizeof(Block) == 64);
static_assert(sizeof(Block) == PageMapping::kOwnerBytes);

// Blocks come in 32 sizes per doubling, multiples of 64 bytes: 64, 128, …,
// 2048, 2112, …, 4096, 4224, …. A tensor may get a block of one of the next
// kReach sizes, of which it leaves about an eighth unused at most.
constexpr int kSizesPerDoubling = 32;
constexpr int kNumSizes = 40 * kSizesPerDoubling;
constexpr int kReach = kSizesPerDoubling / 8;
// Instead of a size: what is left of a block with pages and serves none.
constexpr int kRemnant = kNumSizes;
constexpr size_t kLargestRequest = size_t{1} << 44;

constexpr int SizeIndex(size_t bytes) {
  const size_t units = (bytes + 63) / 64;
  if (units <= kSizesPerDoubling) {
    return static_cast<int>(units) - 1;
  }
  const int shift =
      std::bit_width(units - 1) - std::bit_width(size_t{kSizesPerDoubling});
  return shift * kSizesPerDoubling + static_cast<int>((units - 1) >> shift);
}

constexpr size_t SizeAt(int index) {
  if (index < kSizesPerDoubling) {
    return 64 * (static_cast<size_t>(index) + 1);
  }
  const int shift = index / kSizesPerDoubling - 1;
  const size_t unit = index % kSizesPerDoubling + kSizesPerDoubling + 1;
  return 64 * (unit << shift);
}

// Larger blocks have pages of their own, which a block of another size can be
// made of; smaller ones are malloc's, header included. With AddressSanitizer
// all are malloc's.
constexpr size_t kLargestHeapBlock = size_t{1} << 20;

constexpr bool HasPages(int size_index) {
  return !FEDLB_ASAN && size_index > SizeIndex(kLargestHeapBlock);
}

int SizeIndexFor(size_t request) {
  const int with_header = SizeIndex(request + sizeof(Block));
  // The header of pages lies before them, so that 2^n bytes waste nothing.
  return HasPages(with_header)
             ? std::max(SizeIndex(request), SizeIndex(kLargestHeapBlock) + 1)
             : with_header;
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

// What may be taken from the system beyond the most that tensors held: with
// nothing, a small model's step would move pages at every turn.
constexpr int64_t kFreeBytes = int64_t{4} << 20;

int64_t AllowedBytes() {
  return std::min(memory_limit.load(std::memory_order_relaxed),
                  total.peak() + kFreeBytes);
}

Block* MakeBlock(void* header, size_t bytes, int size_index) {
  Block* const block = new (header) Block{};
  block->bytes = bytes;
  block->size_index = size_index;
  return block;
}

// Null if the system has no memory.
Block* TakeFromHeap(int size_index) {
  void* const memory = std::aligned_alloc(64, SizeAt(size_index));
  if (memory == nullptr) {
    return nullptr;
  }
  const size_t bytes = SizeAt(size_index) - sizeof(Block);
  reserved.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
  return MakeBlock(memory, bytes, size_index);
}

void GiveToSystem(Block* block) {
  reserved.fetch_sub(static_cast<int64_t>(block->bytes),
                     std::memory_order_relaxed);
  if (HasPages(block->size_index)) {
    PageMapping::Destroy(PageMapping::Of(block + 1));
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
  // A free block of that size or hardly larger; null if there is none.
  Block* Take(int size_index) {
    const int end = std::min(size_index + kReach + 1, kNumSizes);
    const std::lock_guard<std::mutex> lock(mutex_);
    const int found = NextUsed(size_index, end);
    return found < end ? Pop(found) : nullptr;
  }

  // A free block whose pages one of that size can be made of: a remnant, else
  // the smallest of those as large, else the largest; null if there is none.
  Block* TakeForPages(int size_index) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_[kRemnant] != nullptr) {
      return Pop(kRemnant);
    }
    int found = NextUsed(size_index, kNumSizes);
    if (found == kNumSizes) {
      do {
        --found;
      } while (HasPages(found) && free_[found] == nullptr);
    }
    return HasPages(found) ? Pop(found) : nullptr;
  }

  void Put(Block* block) {
    const int index = block->size_index;
    const std::lock_guard<std::mutex> lock(mutex_);
    block->next = free_[index];
    free_[index] = block;
    used_[index / 64] |= uint64_t{1} << (index % 64);
  }

  // All free blocks, as a list.
  Block* PopAll() {
    const std::lock_guard<std::mutex> lock(mutex_);
    Block* list = nullptr;
    for (int i = NextUsed(0, kRemnant + 1); i <= kRemnant;
         i = NextUsed(i, kRemnant + 1)) {
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

  std::mutex mutex_;
  std::array<Block*, kRemnant + 1> free_{};
  std::array<uint64_t, kRemnant / 64 + 1> used_{};
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

  // As the pool's own, which is asked first.
  Block* TakeForPages(int size_index, Pool& own) {
    Block* block = own.TakeForPages(size_index);
    if (block == nullptr) {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (size_t i = 0; i < pools_.size() && block == nullptr; ++i) {
        block = pools_[i]->TakeForPages(size_index);
      }
    }
    return block;
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

// What TakePages left of a free block.
void PutRest(Block* block) {
  if (block->bytes == 0) {
    GiveToSystem(block);
    return;
  }
  // The largest size that is not larger.
  const int size_index = SizeIndex(block->bytes + 1) - 1;
  block->size_index = HasPages(size_index) ? size_index : kRemnant;
  block->pool->Put(block);
}

// A block with new pages or, where those would be more than is allowed, with
// those of free blocks. Null if the system has no memory.
Block* TakeWithPages(int size_index, Pool& pool) {
  const size_t bytes = SizeAt(size_index);
  PageMapping* const mapping = PageMapping::Create(bytes);
  if (mapping == nullptr) {
    return nullptr;
  }
  const int64_t before = reserved.fetch_add(static_cast<int64_t>(bytes),
                                            std::memory_order_relaxed);
  size_t wanted =
      before + static_cast<int64_t>(bytes) > AllowedBytes() ? bytes : 0;
  while (wanted > 0) {
    Block* const source = Registry().TakeForPages(size_index, pool);
    if (source == nullptr) {
      break;
    }
    const size_t taken =
        mapping->TakePages(*PageMapping::Of(source + 1), wanted);
    reserved.fetch_sub(static_cast<int64_t>(taken), std::memory_order_relaxed);
    source->bytes -= taken;
    PutRest(source);
    wanted = taken > 0 ? wanted - taken : 0;
  }
  if (mapping->bytes() < bytes) {
    reserved.fetch_sub(static_cast<int64_t>(bytes), std::memory_order_relaxed);
    PageMapping::Destroy(mapping);
    return nullptr;
  }
  void* const header = static_cast<Block*>(mapping->data()) - 1;
  return MakeBlock(header, bytes, size_index);
}

// Null if the system has no memory.
Block* TakeFromSystem(int size_index, Pool& pool) {
  if (HasPages(size_index)) {
    Block* const block = TakeWithPages(size_index, pool);
    if (reserved.load(std::memory_order_relaxed) >
        memory_limit.load(std::memory_order_relaxed)) {
      Registry().GiveBackFreeBlocks();
    }
    return block;
  }
  if (static_cast<int64_t>(SizeAt(size_index)) >
      memory_limit.load(std::memory_order_relaxed) -
          reserved.load(std::memory_order_relaxed)) {
    Registry().GiveBackFreeBlocks();
  }
  return TakeFromHeap(size_index);
}

// A block of the pool or of the system; null if there is none.
Block* TakeBlock(size_t request) {
  const int size_index = SizeIndexFor(request);
  Pool& pool = ThreadPool();
  Block* block = pool.Take(size_index);
  if (block == nullptr) {
    block = TakeFromSystem(size_index, pool);
  }
  if (block == nullptr) {
    Registry().GiveBackFreeBlocks();
    block = TakeFromSystem(size_index, pool);
  }
  if (block != nullptr) {
    block->pool = &pool;
  }
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
  ASAN_POISON_MEMORY_REGION(data + request, block->bytes - request);
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
  const uintptr_t first = (begin + PageMapping::kLargePageBytes - 1) /
                          PageMapping::kLargePageBytes *
                          PageMapping::kLargePageBytes;
  const uintptr_t last = (begin + bytes) / PageMapping::kLargePageBytes *
                         PageMapping::kLargePageBytes;
  if (first < last) {
    static_cast<void>(
        madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE));
  }
}

void ReleaseCachedMemory() { Registry().GiveBackFreeBlocks(); }

}  // namespace fedlb
