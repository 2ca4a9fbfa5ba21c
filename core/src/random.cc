#include "fedlb/random.h"

#include <cmath>
#include <numeric>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace fedlb {
namespace {

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;
constexpr double kTwoPi = 6.283185307179586476925286766559;

// The finaliser of SplitMix64: a bijection in which every input bit changes
// every output bit with probability one half.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t Combine(uint64_t hash, uint64_t word) {
  return Mix((hash + kGolden) ^ Mix(word + kGolden));
}

}  // namespace

uint64_t HashKey(const RandomKey& key) {
  uint64_t hash = Combine(0, key.seed);
  // FNV-1a over the name; the mixing that follows spreads it.
  uint64_t name = 0xcbf29ce484222325;
  for (const char c : key.purpose) {
    name = (name ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  hash = Combine(hash, name);
  hash = Combine(hash, static_cast<uint64_t>(key.round));
  hash = Combine(hash, static_cast<uint64_t>(key.client));
  return Combine(hash, static_cast<uint64_t>(key.step));
}

uint64_t RandomStream::operator()() {
  state_ += kGolden;
  return Mix(state_);
}

double RandomStream::Uniform() {
  return static_cast<double>((*this)() >> 11) * 0x1p-53;
}

uint64_t RandomStream::Below(uint64_t bound) {
  // D. Lemire, "Fast Random Integer Generation in an Interval", 2019.
  __extension__ using Wide = unsigned __int128;
  Wide product = static_cast<Wide>((*this)()) * bound;
  auto low = static_cast<uint64_t>(product);
  if (low < bound) {
    const uint64_t threshold = -bound % bound;
    while (low < threshold) {
      product = static_cast<Wide>((*this)()) * bound;
      low = static_cast<uint64_t>(product);
    }
  }
  return static_cast<uint64_t>(product >> 64);
}

double RandomStream::Normal() {
  const double radius = std::sqrt(-2 * std::log(1 - Uniform()));
  return radius * std::cos(kTwoPi * Uniform());
}

double RandomStream::Gamma(double shape) {
  if (shape < 1) {
    // Gamma(a) = Gamma(a + 1) * U^(1/a).
    const double boosted = Gamma(shape + 1);
    return boosted * std::pow(1 - Uniform(), 1 / shape);
  }
  const double d = shape - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = Normal();
    const double t = 1 + c * x;
    if (t <= 0) {
      continue;
    }
    const double v = t * t * t;
    if (std::log(1 - Uniform()) < x * x / 2 + d - d * v + d * std::log(v)) {
      return d * v;
    }
  }
}

std::vector<double> RandomStream::Dirichlet(absl::Span<const double> alpha) {
  std::vector<double> draw;
  draw.reserve(alpha.size());
  double sum = 0;
  double total_alpha = 0;
  for (const double a : alpha) {
    draw.push_back(Gamma(a));
    sum += draw.back();
    total_alpha += a;
  }
  if (sum > 0) {
    for (double& value : draw) {
      value /= sum;
    }
    return draw;
  }
  double point = Uniform() * total_alpha;
  size_t winner = 0;
  while (winner + 1 < alpha.size() && point >= alpha[winner]) {
    point -= alpha[winner];
    ++winner;
  }
  draw.assign(alpha.size(), 0);
  draw[winner] = 1;
  return draw;
}

std::vector<int64_t> RandomStream::SampleWithoutReplacement(
    int64_t population, int64_t count) {
  // Fisher and Yates on an array of which only the touched places exist.
  absl::flat_hash_map<int64_t, int64_t> moved;
  const auto at = [&moved](int64_t place) {
    const auto found = moved.find(place);
    return found == moved.end() ? place : found->second;
  };
  std::vector<int64_t> sample;
  sample.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t j =
        i + static_cast<int64_t>(Below(static_cast<uint64_t>(population - i)));
    sample.push_back(at(j));
    moved[j] = at(i);
  }
  return sample;
}

ShuffledOrder::ShuffledOrder(const RandomKey& key, int64_t size) : size_(size) {
  RandomStream stream(key);
  if (size <= kMaxShuffled) {
    shuffled_.resize(static_cast<size_t>(size));
    std::iota(shuffled_.begin(), shuffled_.end(), 0);
    stream.Shuffle(absl::MakeSpan(shuffled_));
    return;
  }
  while ((int64_t{1} << (2 * half_bits_)) < size) {
    ++half_bits_;
  }
  for (uint64_t& round_key : round_keys_) {
    round_key = stream();
  }
}

int64_t ShuffledOrder::operator[](int64_t position) const {
  if (!shuffled_.empty()) {
    return shuffled_[static_cast<size_t>(position)];
  }
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  auto value = static_cast<uint64_t>(position);
  // The network permutes a domain of at most four times the size; walking its
  // cycle until it returns to [0, size) permutes that range.
  do {
    uint64_t left = value >> half_bits_;
    uint64_t right = value & mask;
    for (const uint64_t round_key : round_keys_) {
      const uint64_t next = left ^ (Mix(right + round_key) & mask);
      left = right;
      right = next;
    }
    value = left << half_bits_ | right;
  } while (value >= static_cast<uint64_t>(size_));
  return static_cast<int64_t>(value);
}

}  // namespace fedlb
