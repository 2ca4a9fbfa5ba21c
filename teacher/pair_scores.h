// How well displacements are predicted on pairs that a teacher has not seen.

#ifndef FEDLB_TEACHER_PAIR_SCORES_H_
#define FEDLB_TEACHER_PAIR_SCORES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "fedlb/component.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/tensor_list.h"

namespace fedlb::teacher {

// The images of a pair's gradient by the teacher.
struct PairImages {
  TensorList norm_match;
  TensorList mse;
};

// Scores every pair before the teacher is fitted to it. R^2 of a prediction P
// of the displacement D is 1 - |D - P|^2 / |D|^2.
class PairScores {
 public:
  // Adds the scores of a pair; `heldout` when the teacher that made the images
  // has been fitted, to pairs before this one.
  void Add(const DisplacementPair& pair, const PairImages& images,
           double small_steps, bool heldout);

  // Medians over the held-out pairs: "heldout.cosine" and "heldout.norm_ratio"
  // of the teacher, "heldout.r2_mse" and "heldout.r2_norm_match" of its two
  // scalings; of scaled gradients "heldout.cosine_identity",
  // "heldout.r2_identity" (by 1), "heldout.r2_small_steps" (by K),
  // "heldout.r2_constant_gain" (by the best gain for the pairs before) and
  // "heldout.r2_oracle_gain" (by the best gain for the pair itself); of
  // displacements by another order of examples "heldout.ceiling_cosine". Empty
  // without held-out pairs; "heldout.pairs" is their number.
  ScalarMap Summary() const;

  // A tensor [pairs, scores] and the sums for the constant gain.
  TensorList Save() const;
  absl::Status Load(const TensorList& tensors);

 private:
  static constexpr size_t kNumScores = 10;

  std::vector<std::array<double, kNumScores>> heldout_;
  // Sums over pairs of g . D / |D|^2 and |g|^2 / |D|^2.
  double product_sum_ = 0;
  double energy_sum_ = 0;
};

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_PAIR_SCORES_H_
