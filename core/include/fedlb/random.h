// Random numbers that depend on what they are for and on nothing else.

#ifndef FEDLB_RANDOM_H_
#define FEDLB_RANDOM_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "fedlb/export.h"

namespace fedlb {

// Names one stream of random numbers. Two streams with different keys are
// independent; the same key gives the same numbers in any thread, process and
// order of events.
struct RandomKey {
  uint64_t seed = 0;
  absl::string_view purpose;  // "shuffle", "model_init", ...
  int64_t round = 0;
  int64_t client = 0;
  int64_t step = 0;
};

// 64 well-mixed bits of the key, for seeding other generators.
FEDLB_API uint64_t HashKey(const RandomKey& key);

// A counter-based generator (SplitMix64, Steele et al., OOPSLA 2014) with
// distributions of its own, because the standard library does not fix the
// numbers that its distributions give.
class FEDLB_API RandomStream {
 public:
  using result_type = uint64_t;

  explicit RandomStream(const RandomKey& key) : state_(HashKey(key)) {}

  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return ~uint64_t{0}; }
  uint64_t operator()();

  // Uniform in [0, 1).
  double Uniform();
  // Uniform in [0, bound), without modulo bias; bound > 0.
  uint64_t Below(uint64_t bound);
  // Standard normal (Box and Muller).
  double Normal();
  // Gamma(shape, 1) with shape > 0 (Marsaglia and Tsang, 2000).
  double Gamma(double shape);
  // Dirichlet(alpha); alpha has one or more positive entries. A draw whose
  // gammas all underflow puts everything on one entry, chosen by weight.
  std::vector<double> Dirichlet(absl::Span<const double> alpha);

  // Fisher and Yates.
  template <typename T>
  void Shuffle(absl::Span<T> values) {
    for (size_t i = values.size(); i > 1; --i) {
      std::swap(values[i - 1], values[Below(i)]);
    }
  }

  // `count` distinct numbers of [0, population) in random order;
  // count <= population. Memory and time grow with `count` only.
  std::vector<int64_t> SampleWithoutReplacement(int64_t population,
                                                int64_t count);

 private:
  uint64_t state_;
};

// A random order of [0, size) that takes little time and memory to make, however
// large it is. Up to kMaxShuffled elements are shuffled outright. Beyond, a
// Feistel network on the next power of four with cycle walking gives any element
// in constant time (Black and Rogaway, CT-RSA 2002); on few elements its rounds
// would leave neighbours correlated.
class FEDLB_API ShuffledOrder {
 public:
  static constexpr int64_t kMaxShuffled = 8192;

  ShuffledOrder(const RandomKey& key, int64_t size);

  // The element at `position`, 0 <= position < size.
  int64_t operator[](int64_t position) const;

 private:
  static constexpr int kRounds = 8;

  int64_t size_;
  std::vector<int64_t> shuffled_;  // empty for a network
  int half_bits_ = 1;
  uint64_t round_keys_[kRounds] = {};
};

}  // namespace fedlb

#endif  // FEDLB_RANDOM_H_
