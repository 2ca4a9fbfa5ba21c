// The gains of a subspace autoencoder, fitted to pairs.

#ifndef FEDLB_TEACHER_GATE_FIT_H_
#define FEDLB_TEACHER_GATE_FIT_H_

#include <optional>

#include "pair_codes.h"

namespace fedlb::teacher {

struct FittedGates {
  double curvature_scale = 1;
  double bulk_gain = 1;      // so that the image is as long as the displacement
  double mse_bulk_gain = 1;  // so that the squared error is least
  double clip_norm = 0;
};

// nullopt while there are fewer than three pairs.
std::optional<FittedGates> FitGates(const PairCodes& codes, double min_gain);

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_GATE_FIT_H_
