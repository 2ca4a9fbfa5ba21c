// What a subspace autoencoder keeps of the pairs that it is fitted to.

#ifndef FEDLB_TEACHER_PAIR_CODES_H_
#define FEDLB_TEACHER_PAIR_CODES_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "fedlb/tensor_list.h"

namespace fedlb::teacher {

// A gradient g and a displacement D within one block of parameters, by the
// basis of that time.
struct BlockCodes {
  std::vector<double> z;  // lr m s^2 of every direction
  std::vector<double> gradient;
  std::vector<double> displacement;
  double gradient_energy = 0;      // |g|^2
  double displacement_energy = 0;  // |D|^2
  double product = 0;              // g . D
};

struct CodedPair {
  double small_steps = 1;
  std::vector<BlockCodes> blocks;

  double displacement_norm() const;
  // Of what is outside of the codes: g . D and |g|^2, and their cosine.
  double bulk_product() const;
  double bulk_energy() const;
  double bulk_cosine() const;
};

// The newest pairs, up to kMostPairs.
class PairCodes {
 public:
  static constexpr size_t kMostPairs = 20;

  // Of the pairs' numbers, with so many directions in so many blocks.
  static int64_t MostBytes(int64_t directions, int64_t num_blocks);

  void Add(CodedPair pair);
  const std::deque<CodedPair>& pairs() const { return pairs_; }

  // One tensor per pair, and back. kInvalidArgument: not what Save made of
  // pairs with so many blocks.
  TensorList Save() const;
  absl::Status Load(const TensorList& tensors, size_t num_blocks);

 private:
  std::deque<CodedPair> pairs_;
};

// A lower cosine would make an image that is divided by it arbitrarily long.
inline constexpr double kLowestCosine = 0.2;

// The norm that images are clipped to, 0.9 times the median norm of the newest
// displacements; `norms` are those of all pairs in order, and not empty.
double ClipNormOf(const std::vector<double>& norms);

// The element in the middle, or the mean of the two there; `values` are not
// empty.
double Median(std::vector<double> values);

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_PAIR_CODES_H_
