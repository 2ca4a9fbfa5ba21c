#include "displacement_gain.h"

#include <cmath>

namespace fedlb::teacher {

double DisplacementGain(double z, double steps) {
  if (z == 0) {
    return steps;
  }
  if (z >= 1) {
    return 1 / z;
  }
  // The plain formula loses all digits to cancellation as z goes to 0.
  return -std::expm1(steps * std::log1p(-z)) / z;
}

}  // namespace fedlb::teacher
