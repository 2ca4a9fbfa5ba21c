#include "data/image_resize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace fedlb::data {
namespace {

// Weights add up to 2^15: of 255 it stays within 24 bits, and rounding them
// errs by a hundredth of a level. They have 16 bits because the baseline of
// x86-64 multiplies vectors of those only.
constexpr int kWeightBits = 15;
constexpr uint32_t kHalf = 1 << (kWeightBits - 1);

// What each pixel of a new line is made of: as many old ones for all, from
// first[i] on, with the weights from weights[i * count] on.
struct Taps {
  int64_t count = 0;
  std::vector<int64_t> first;
  std::vector<uint16_t> weights;

  const uint16_t* WeightsOf(int64_t i) const {
    return weights.data() + i * count;
  }
  // One past the last old pixel that is needed.
  int64_t end() const { return first.back() + count; }
};

// Of the `size` pixels in the middle of a line that is scaled from `in` to
// `out`: a triangle around the new pixel's centre, two pixels wide or, when the
// line shrinks, two of the new ones.
Taps MakeTaps(int64_t in, int64_t out, int64_t size) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double radius = std::max(scale, 1.0);
  Taps taps{.count = std::min(in, static_cast<int64_t>(std::ceil(2 * radius)))};
  taps.first.resize(static_cast<size_t>(size));
  taps.weights.resize(static_cast<size_t>(size * taps.count));
  std::vector<double> exact(static_cast<size_t>(taps.count));
  uint16_t* weights = taps.weights.data();
  for (int64_t i = 0; i < size; ++i, weights += taps.count) {
    const double center =
        (static_cast<double>((out - size) / 2 + i) + 0.5) * scale;
    // The first whose own centre lies within the triangle.
    const int64_t first = std::clamp<int64_t>(
        static_cast<int64_t>(std::floor(center - radius + 0.5)), 0,
        in - taps.count);
    taps.first[static_cast<size_t>(i)] = first;
    double sum = 0;
    for (size_t k = 0; k < exact.size(); ++k) {
      const double at = static_cast<double>(first) + static_cast<double>(k);
      exact[k] = std::max(0.0, 1 - std::abs(at + 0.5 - center) / radius);
      sum += exact[k];
    }
    // What is left over by rounding goes to the largest, so that a plain
    // surface keeps its level.
    int64_t left = 1 << kWeightBits;
    for (size_t k = 0; k < exact.size(); ++k) {
      const int64_t weight = std::lround(exact[k] / sum * (1 << kWeightBits));
      weights[k] = static_cast<uint16_t>(weight);
      left -= weight;
    }
    uint16_t& largest = *std::max_element(weights, weights + taps.count);
    largest = static_cast<uint16_t>(largest + left);
  }
  return taps;
}

uint8_t Rounded(uint32_t sum) {
  return static_cast<uint8_t>((sum + kHalf) >> kWeightBits);
}

// out[i] is the weighted mean of row[i], row[i + stride], ...
void BlendRows(const uint8_t* row, int64_t stride, const uint16_t* weights,
               int64_t count, std::vector<uint32_t>& sums,
               std::vector<uint8_t>& out) {
  std::fill(sums.begin(), sums.end(), 0);
  for (int64_t k = 0; k < count; ++k, row += stride) {
    const uint16_t weight = weights[k];
    for (size_t i = 0; i < sums.size(); ++i) {
      sums[i] += uint32_t{weight} * uint16_t{row[i]};
    }
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    out[i] = Rounded(sums[i]);
  }
}

}  // namespace

void ResizeToSquare(absl::Span<const uint8_t> rgb, int64_t width,
                    int64_t height, int64_t size, uint8_t* out) {
  const int64_t shorter = std::min(width, height);
  const auto taps_of = [&](int64_t side) {
    return MakeTaps(side, side == shorter ? size : size * side / shorter, size);
  };
  const Taps columns = taps_of(width);
  const Taps rows = taps_of(height);

  // First across the rows, which is the fast direction: it deals with whole
  // lines, and of those only with the columns that are needed.
  const int64_t first_column = columns.first.front();
  std::vector<uint8_t> line(
      static_cast<size_t>(3 * (columns.end() - first_column)));
  std::vector<uint32_t> sums(line.size());
  const int64_t plane = size * size;
  for (int64_t y = 0; y < size; ++y, out += size) {
    const int64_t first_row = rows.first[static_cast<size_t>(y)];
    BlendRows(rgb.data() + 3 * (first_row * width + first_column), 3 * width,
              rows.WeightsOf(y), rows.count, sums, line);
    for (int64_t x = 0; x < size; ++x) {
      const uint8_t* pixel =
          line.data() +
          3 * (columns.first[static_cast<size_t>(x)] - first_column);
      const uint16_t* weights = columns.WeightsOf(x);
      uint32_t red = 0;
      uint32_t green = 0;
      uint32_t blue = 0;
      for (int64_t k = 0; k < columns.count; ++k, pixel += 3) {
        red += uint32_t{weights[k]} * pixel[0];
        green += uint32_t{weights[k]} * pixel[1];
        blue += uint32_t{weights[k]} * pixel[2];
      }
      out[x] = Rounded(red);
      out[x + plane] = Rounded(green);
      out[x + 2 * plane] = Rounded(blue);
    }
  }
}

}  // namespace fedlb::data
