#include "fedlb/memory.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/CPUAllocator.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fedlb {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kCaching = false;
#else
constexpr bool kCaching = true;
#endif
// Besides what it is asked for, ThreadSanitizer touches its shadow.
#if defined(__SANITIZE_THREAD__)
constexpr bool kOwnPagesOnly = false;
#else
constexpr bool kOwnPagesOnly = true;
#endif
#define SKIP_WITHOUT_CACHE()                                 \
  if (!kCaching) {                                           \
    GTEST_SKIP() << "AddressSanitizer builds cache nothing"; \
  }                                                          \
  static_assert(true, "require a trailing semicolon")

constexpr int64_t kMegabyte = 1 << 20;

class MemoryTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    InstallCachingAllocator();
    at::set_num_threads(1);
  }
  void SetUp() override {
    ReleaseCachedMemory();
    ResetPeakMemory();
    before_ = GetMemoryStats();
  }
  void TearDown() override { SetMemoryLimit(0); }

  // Bytes held since the test began.
  int64_t Held() const {
    return GetMemoryStats().current_total - before_.current_total;
  }
  int64_t Peak() const {
    return GetMemoryStats().peak_total - before_.current_total;
  }
  int64_t Reserved() const {
    return GetMemoryStats().reserved - before_.reserved;
  }
  int64_t Held(MemoryTag tag) const {
    const auto i = static_cast<size_t>(tag);
    return GetMemoryStats().current[i] - before_.current[i];
  }
  int64_t Peak(MemoryTag tag) const {
    const auto i = static_cast<size_t>(tag);
    return GetMemoryStats().peak[i] - before_.current[i];
  }

  // Lets tensors hold `bytes` more than they do.
  static void LimitTo(int64_t bytes) {
    SetMemoryLimit(GetMemoryStats().current_total + bytes);
  }

 private:
  MemoryStats before_;
};

at::Tensor Bytes(int64_t n) { return at::empty({n}, at::kByte); }

bool AllAre(uint8_t value, const at::Tensor& bytes) {
  const auto* const data = bytes.const_data_ptr<uint8_t>();
  return std::all_of(data, data + bytes.numel(),
                     [value](uint8_t byte) { return byte == value; });
}

int64_t PageFaults() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

TEST_F(MemoryTest, CountsTheBytesThatTensorsAskFor) {
  {
    const at::Tensor a = Bytes(1000);
    const at::Tensor b = at::empty({10, 10});
    EXPECT_EQ(Held(), 1400);
  }
  const at::Tensor c = Bytes(100);
  EXPECT_EQ(Held(), 100);
  EXPECT_EQ(Peak(), 1400);
  ResetPeakMemory();
  EXPECT_EQ(Peak(), 100);
}

TEST_F(MemoryTest, TagsNestAndStayWithTheTensor) {
  at::Tensor parameter;
  at::Tensor activation;
  {
    const MemoryTagScope outer(MemoryTag::kParameters);
    {
      const MemoryTagScope inner(MemoryTag::kActivations);
      activation = Bytes(10);
    }
    parameter = Bytes(100);
  }
  const at::Tensor other = Bytes(1000);
  EXPECT_EQ(Held(MemoryTag::kParameters), 100);
  EXPECT_EQ(Held(MemoryTag::kActivations), 10);
  EXPECT_EQ(Held(MemoryTag::kOther), 1000);
  activation.reset();
  EXPECT_EQ(Held(MemoryTag::kActivations), 0);
  EXPECT_EQ(Peak(MemoryTag::kActivations), 10);
}

TEST_F(MemoryTest, RetaggedMemoryMovesFromOneTagToTheOther) {
  at::Tensor tensor;
  {
    const MemoryTagScope scope(MemoryTag::kActivations);
    tensor = Bytes(100);
  }
  // A view has the storage of its base.
  TagTensorMemory(tensor.view({10, 10}), MemoryTag::kGradients);
  EXPECT_EQ(Held(MemoryTag::kActivations), 0);
  EXPECT_EQ(Held(MemoryTag::kGradients), 100);
  tensor.reset();
  EXPECT_EQ(Held(MemoryTag::kGradients), 0);
  EXPECT_EQ(Held(), 0);
}

TEST_F(MemoryTest, ForeignMemoryKeepsItsTag) {
  char bytes[16] = {};
  TagTensorMemory(at::from_blob(bytes, {16}, at::kByte), MemoryTag::kBatch);
  TagTensorMemory(Bytes(0), MemoryTag::kBatch);
  EXPECT_EQ(Held(MemoryTag::kBatch), 0);
}

TEST_F(MemoryTest, EveryTagHasItsName) {
  std::vector<std::string> names;
  for (int i = 0; i < kNumMemoryTags; ++i) {
    names.push_back(MemoryTagName(static_cast<MemoryTag>(i)));
  }
  EXPECT_THAT(names,
              ::testing::ElementsAre("other", "parameters", "gradients",
                                     "optimizer", "activations", "batch"));
}

TEST_F(MemoryTest, PeakIsTheLargestSumOverThreadsAtOneMoment) {
  // Each thread's own peak is 3000, one after the other: never 6000 together.
  for (int i = 0; i < 2; ++i) {
    std::thread([] { Bytes(3000); }).join();
  }
  EXPECT_EQ(Peak(), 3000);

  at::Tensor kept;
  std::thread([&] { kept = Bytes(3000); }).join();
  std::thread([] { Bytes(1000); }).join();
  EXPECT_EQ(Peak(), 4000);
}

TEST_F(MemoryTest, DataIsAlignedTo64Bytes) {
  for (const int64_t n : {1, 63, 64, 65, 4000, 100'000, 1'000'000, 9'000'000}) {
    const at::Tensor tensor = Bytes(n);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 64, 0u) << n;
    tensor.fill_(7);
    EXPECT_EQ(tensor[n - 1].item<uint8_t>(), 7) << n;
  }
}

TEST_F(MemoryTest, AnEmptyTensorHoldsNothing) {
  const at::Tensor empty = Bytes(0);
  EXPECT_EQ(Held(), 0);
  EXPECT_EQ(empty.data_ptr(), nullptr);
}

TEST_F(MemoryTest, ServesTheRawInterface) {
  c10::Allocator* const allocator = c10::GetCPUAllocator();
  void* const data = allocator->raw_allocate(5000);
  std::memset(data, 1, 5000);
  EXPECT_EQ(Held(), 5000);
  allocator->raw_deallocate(data);
  EXPECT_EQ(Held(), 0);
  allocator->raw_deallocate(allocator->raw_allocate(0));
}

TEST_F(MemoryTest, ANewBlockWastesAThirtySecondAtMost) {
  SKIP_WITHOUT_CACHE();
  for (int64_t n = 512; n < 100 * kMegabyte; n += n / 7) {
    ReleaseCachedMemory();
    const int64_t before = GetMemoryStats().reserved;
    const at::Tensor tensor = Bytes(n);
    const int64_t taken = GetMemoryStats().reserved - before;
    EXPECT_GE(taken, n);
    EXPECT_LE(taken, (n + 64) * 33 / 32 + 64);
  }
  // A size that many tensors have.
  ReleaseCachedMemory();
  const int64_t before = GetMemoryStats().reserved;
  const at::Tensor tensor = Bytes(16 * kMegabyte);
  EXPECT_EQ(GetMemoryStats().reserved - before, 16 * kMegabyte);
}

TEST_F(MemoryTest, ARepeatedStepTakesNoPageFaults) {
  SKIP_WITHOUT_CACHE();
  const auto step = [] {
    const at::Tensor a = at::ones({1000, 1000});
    const at::Tensor b = a + 1;
    const at::Tensor c = a * b;
    return c.sum().item<float>();
  };
  step();
  const int64_t faults = PageFaults();
  const int64_t reserved = Reserved();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(step(), 2e6f);
  }
  // Ten steps touch 30,000 pages.
  EXPECT_LT(PageFaults() - faults, 100);
  EXPECT_EQ(Reserved(), reserved);
}

TEST_F(MemoryTest, ABlockServesWhatIsALittleSmaller) {
  SKIP_WITHOUT_CACHE();
  void* const full = Bytes(40 * kMegabyte).data_ptr();
  EXPECT_EQ(Bytes(37 * kMegabyte).data_ptr(), full);
  // Something much smaller may live long and leaves the block alone.
  const at::Tensor small = Bytes(2 * kMegabyte);
  EXPECT_EQ(Bytes(40 * kMegabyte).data_ptr(), full);
}

// As the short last batch of an epoch, and the full one after it.
TEST_F(MemoryTest, BlocksOfOtherSizesAreMadeOfTheSamePages) {
  SKIP_WITHOUT_CACHE();
  Bytes(40 * kMegabyte).fill_(7);
  const int64_t faults = PageFaults();
  for (int i = 0; i < 10; ++i) {
    {
      const at::Tensor a = Bytes(25 * kMegabyte);
      const at::Tensor b = Bytes(14 * kMegabyte);
      EXPECT_TRUE(AllAre(7, a));
      EXPECT_TRUE(AllAre(7, b));
    }
    EXPECT_TRUE(AllAre(7, Bytes(40 * kMegabyte)));
  }
  EXPECT_LE(Reserved(), 45 * kMegabyte);
  if (kOwnPagesOnly) {
    // Without it, more than 100,000.
    EXPECT_LT(PageFaults() - faults, 1000);
  }
}

// From here on this process cannot move pages.
bool RefuseToMovePages() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mremap, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program = {.len = std::size(code), .filter = code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// As in some sandboxes.
TEST_F(MemoryTest, WherePagesCannotBeMovedNewOnesAreTaken) {
  SKIP_WITHOUT_CACHE();
  const auto work_without_moving = [this] {
    if (!RefuseToMovePages()) {
      std::exit(2);
    }
    Bytes(40 * kMegabyte).fill_(7);
    bool good = true;
    for (int i = 0; i < 3; ++i) {
      const at::Tensor a = Bytes(25 * kMegabyte).fill_(1);
      const at::Tensor b = Bytes(14 * kMegabyte).fill_(2);
      good = good && AllAre(1, a) && AllAre(2, b);
    }
    std::exit(good && Reserved() <= 45 * kMegabyte ? 0 : 1);
  };
  EXPECT_EXIT(work_without_moving(), testing::ExitedWithCode(0), "");
}

TEST_F(MemoryTest, TheSmallestBlockThatFitsIsUsed) {
  SKIP_WITHOUT_CACHE();
  void* small = nullptr;
  {
    const at::Tensor a = Bytes(12'500'000);
    const at::Tensor b = Bytes(12'000'000);
    small = b.data_ptr();
  }
  EXPECT_EQ(Bytes(11'800'000).data_ptr(), small);
}

TEST_F(MemoryTest, AGrowingBatchUsesTheSmallerBlocks) {
  SKIP_WITHOUT_CACHE();
  for (int64_t size = 4; size <= 128; size *= 2) {
    Bytes(size * kMegabyte);
  }
  // Without it, twice that.
  EXPECT_LE(Reserved(), 133 * kMegabyte);
}

// A block too large for what is asked for next does not stay beside it: what is
// mapped follows the peak of what is held.
TEST_F(MemoryTest, BlocksThatNothingAsksForDoNotPileUp) {
  SKIP_WITHOUT_CACHE();
  Bytes(200 * kMegabyte);
  std::vector<at::Tensor> held;
  for (int i = 0; i < 14; ++i) {
    held.push_back(Bytes(15 * kMegabyte));
  }
  EXPECT_GE(Reserved(), 210 * kMegabyte);
  // Without a bound, 410.
  EXPECT_LE(Reserved(), Peak() + 5 * kMegabyte);
}

TEST_F(MemoryTest, ReleaseGivesBackWhatIsFree) {
  const at::Tensor held = Bytes(3 * kMegabyte);
  const int64_t reserved = Reserved();
  { Bytes(2 * kMegabyte), Bytes(5000); }
  EXPECT_GE(Reserved(), reserved);
  ReleaseCachedMemory();
  EXPECT_EQ(Reserved(), reserved);
}

TEST_F(MemoryTest, ABlockFreedByAnotherThreadReturnsToItsOwner) {
  SKIP_WITHOUT_CACHE();
  at::Tensor tensor = Bytes(2 * kMegabyte);
  void* const data = tensor.data_ptr();
  std::thread([&] {
    tensor.reset();
    EXPECT_NE(Bytes(2 * kMegabyte).data_ptr(), data);
  }).join();
  EXPECT_EQ(Bytes(2 * kMegabyte).data_ptr(), data);
}

TEST_F(MemoryTest, AThreadUsesThePagesOfAnothersFreeBlocks) {
  SKIP_WITHOUT_CACHE();
  Bytes(50 * kMegabyte).fill_(3);
  std::thread([&] {
    const at::Tensor tensor = Bytes(30 * kMegabyte);
    EXPECT_EQ(Reserved(), 50 * kMegabyte);
    EXPECT_EQ(tensor[0].item<int>(), 3);
    EXPECT_EQ(tensor[-1].item<int>(), 3);
  }).join();
}

TEST_F(MemoryTest, BlocksOutliveTheirThreadAndServeTheNext) {
  at::Tensor tensor;
  std::thread([&] { tensor = at::ones({1000, 1000}); }).join();
  EXPECT_EQ(tensor.sum().item<float>(), 1e6f);
  void* const data = tensor.data_ptr();
  tensor.reset();
  if (kCaching) {
    std::thread([&] {
      EXPECT_EQ(at::empty({1000, 1000}).data_ptr(), data);
    }).join();
  }
}

TEST_F(MemoryTest, ThreadsExchangeTensors) {
  constexpr int kThreads = 4;
  constexpr int kSlots = 16;
  std::vector<at::Tensor> slots(kSlots);
  std::vector<std::mutex> locks(kSlots);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      uint32_t random = t;
      for (int i = 0; i < 2000; ++i) {
        random = random * 1664525 + 1013904223;
        const int64_t size = 1 << (random >> 28);
        at::Tensor tensor = at::full({size * 20}, t, at::kByte);
        const size_t slot = (random >> 16) % kSlots;
        {
          const std::lock_guard<std::mutex> lock(locks[slot]);
          std::swap(slots[slot], tensor);
        }
        if (i % 500 == 0) {
          ReleaseCachedMemory();
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  slots.clear();
  EXPECT_EQ(Held(), 0);
}

TEST_F(MemoryTest, ATensorBeyondTheLimitIsRefused) {
  const at::Tensor held = Bytes(1000);
  LimitTo(5000);
  const at::Tensor more = Bytes(4000);
  std::string message;
  try {
    Bytes(1001);
  } catch (const MemoryLimitExceeded& error) {
    message = error.what();
  }
  const std::string total = std::to_string(GetMemoryStats().current_total);
  const std::string limit =
      std::to_string(GetMemoryStats().current_total + 1000);
  EXPECT_EQ(message, "a tensor of 1001 bytes, with " + total +
                         " bytes held, exceeds the memory limit of " + limit +
                         " bytes");
  EXPECT_EQ(Held(), 5000);
  EXPECT_EQ(Peak(), 5000);
  Bytes(1000);
  SetMemoryLimit(0);
  Bytes(100'000);
}

TEST_F(MemoryTest, WhatTheSystemRefusesIsABadAllocToo) {
  const at::Tensor held = Bytes(10);
  EXPECT_THROW(Bytes(int64_t{1} << 46), MemoryLimitExceeded);
  EXPECT_THROW(Bytes(int64_t{1} << 62), std::bad_alloc);
  EXPECT_EQ(Held(), 10);
}

TEST_F(MemoryTest, CachedBlocksAreGivenBackBeforeTheLimit) {
  SKIP_WITHOUT_CACHE();
  std::thread([] { Bytes(50 * kMegabyte); }).join();
  LimitTo(60 * kMegabyte);
  const at::Tensor tensor = Bytes(40 * kMegabyte);
  EXPECT_LE(Reserved(), 50 * kMegabyte);
  LimitTo(12 * kMegabyte);
  const at::Tensor more = Bytes(11 * kMegabyte);
  EXPECT_LE(Reserved(), 52 * kMegabyte);
}

class Conv {
 public:
  at::Tensor Loss() const {
    const at::Tensor hidden = at::relu(at::conv2d(inputs_, weight_, {}, 1, 1));
    return at::conv2d(hidden, second_, {}, 1, 1).square().mean();
  }
  void Step() {
    weight_.mutable_grad().reset();
    second_.mutable_grad().reset();
    Loss().backward();
  }
  at::Tensor gradient() const { return weight_.grad(); }

 private:
  at::Tensor inputs_ = at::randn({16, 8, 32, 32});
  at::Tensor weight_ = at::randn({16, 8, 3, 3}).requires_grad_();
  at::Tensor second_ = at::randn({16, 16, 3, 3}).requires_grad_();
};

// Refuses every single allocation of a step in turn, in oneDNN's convolutions
// and in autograd's backward pass among them.
TEST_F(MemoryTest, AStepThatIsRefusedAnywhereLeavesTheProcessUsable) {
  at::manual_seed(1);
  Conv conv;
  conv.Step();
  const at::Tensor expected = conv.gradient().clone();
  conv.Step();
  ResetPeakMemory();
  const int64_t held = GetMemoryStats().current_total;
  conv.Step();
  const int64_t needed = GetMemoryStats().peak_total - held;

  int refused = 0;
  for (int64_t spare = 0; spare < needed; spare += needed / 50) {
    LimitTo(spare);
    EXPECT_THROW(conv.Step(), MemoryLimitExceeded) << spare;
    SetMemoryLimit(0);
    ++refused;
  }
  EXPECT_GE(refused, 50);
  conv.Step();
  EXPECT_TRUE(at::equal(conv.gradient(), expected));
  EXPECT_EQ(GetMemoryStats().current_total, held);
}

TEST_F(MemoryTest, ABackwardPassThatIsRefusedThrows) {
  Conv conv;
  conv.Step();
  const at::Tensor loss = conv.Loss();
  LimitTo(100'000);
  EXPECT_THROW(loss.backward(), MemoryLimitExceeded);
}

}  // namespace
}  // namespace fedlb
