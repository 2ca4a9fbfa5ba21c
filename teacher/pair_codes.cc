#include "pair_codes.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace fedlb::teacher {
namespace {

constexpr size_t kClipPairs = 5;
constexpr double kClipShare = 0.9;

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

}  // namespace

double CodedPair::displacement_norm() const {
  double sum = 0;
  for (const BlockCodes& block : blocks) {
    sum += block.displacement_energy;
  }
  return std::sqrt(sum);
}

double CodedPair::bulk_product() const {
  double sum = 0;
  for (const BlockCodes& block : blocks) {
    sum += block.product - Dot(block.gradient, block.displacement);
  }
  return sum;
}

double CodedPair::bulk_energy() const {
  double sum = 0;
  for (const BlockCodes& block : blocks) {
    sum += std::max(
        0.0, block.gradient_energy - Dot(block.gradient, block.gradient));
  }
  return sum;
}

double CodedPair::bulk_cosine() const {
  double displacement = 0;
  for (const BlockCodes& block : blocks) {
    displacement +=
        std::max(0.0, block.displacement_energy -
                          Dot(block.displacement, block.displacement));
  }
  const double norms = std::sqrt(bulk_energy() * displacement);
  return norms > 0 ? bulk_product() / norms : 0;
}

int64_t PairCodes::MostBytes(int64_t directions, int64_t num_blocks) {
  return static_cast<int64_t>(kMostPairs * sizeof(double)) *
         (1 + 4 * num_blocks + 3 * directions);
}

void PairCodes::Add(CodedPair pair) {
  pairs_.push_back(std::move(pair));
  if (pairs_.size() > kMostPairs) {
    pairs_.pop_front();
  }
}

// A tensor is: small_steps, then of every block its number of directions, the
// three sums, and the three lists.
TensorList PairCodes::Save() const {
  TensorList tensors;
  for (const CodedPair& pair : pairs_) {
    std::vector<double> values = {pair.small_steps};
    for (const BlockCodes& block : pair.blocks) {
      values.insert(values.end(),
                    {static_cast<double>(block.z.size()), block.gradient_energy,
                     block.displacement_energy, block.product});
      for (const auto* list :
           {&block.z, &block.gradient, &block.displacement}) {
        values.insert(values.end(), list->begin(), list->end());
      }
    }
    tensors.push_back(ToTensor(values));
  }
  return tensors;
}

absl::Status PairCodes::Load(const TensorList& tensors, size_t num_blocks) {
  const absl::Status damaged =
      absl::InvalidArgumentError("the teacher's state has damaged pairs");
  std::deque<CodedPair> pairs;
  for (const at::Tensor& tensor : tensors) {
    if (tensor.dim() != 1 || tensor.scalar_type() != at::kDouble ||
        tensor.size(0) < 1) {
      return damaged;
    }
    const std::vector<double> values = ToVector(tensor);
    CodedPair pair;
    pair.small_steps = values[0];
    size_t next = 1;
    for (size_t b = 0; b < num_blocks; ++b) {
      if (next + 4 > values.size()) {
        return damaged;
      }
      BlockCodes block;
      const double count = values[next];
      block.gradient_energy = values[next + 1];
      block.displacement_energy = values[next + 2];
      block.product = values[next + 3];
      next += 4;
      if (!(count >= 0) ||
          count > static_cast<double>((values.size() - next) / 3)) {
        return damaged;
      }
      const auto begin = values.begin() + static_cast<ptrdiff_t>(next);
      const auto size = static_cast<ptrdiff_t>(count);
      block.z.assign(begin, begin + size);
      block.gradient.assign(begin + size, begin + 2 * size);
      block.displacement.assign(begin + 2 * size, begin + 3 * size);
      next += 3 * static_cast<size_t>(size);
      pair.blocks.push_back(std::move(block));
    }
    if (next != values.size()) {
      return damaged;
    }
    pairs.push_back(std::move(pair));
  }
  pairs_ = std::move(pairs);
  return absl::OkStatus();
}

double ClipNormOf(const std::vector<double>& norms) {
  const auto newest =
      static_cast<ptrdiff_t>(std::min(kClipPairs, norms.size()));
  return kClipShare *
         Median(std::vector<double>(norms.end() - newest, norms.end()));
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle]
                                : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace fedlb::teacher
