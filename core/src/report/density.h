// Kernel density estimates, such as those of the scale factors in the lower
// panels of the paper's figures 7 and 8.

#ifndef FEDLB_SRC_REPORT_DENSITY_H_
#define FEDLB_SRC_REPORT_DENSITY_H_

#include <vector>

#include "fedlb/export.h"

namespace fedlb {

// A function on equidistant points.
struct Density {
  std::vector<double> x;
  std::vector<double> y;
};

// The width of the kernel for these values: s n^(-1/5) with their standard
// deviation s. 0 for fewer than two different values.
//
// D. W. Scott, "Multivariate Density Estimation", Wiley 1992, section 6.3:
// Scott's rule h = s n^(-1/(d+4)) in d = 1 dimension. As in SciPy's
// gaussian_kde s divides by n - 1.
FEDLB_API double ScottBandwidth(const std::vector<double>& values);

// The Gaussian estimate
//   f(x) = 1/(n h) sum_i phi((x - v_i) / h),  phi(u) = exp(-u^2/2) / sqrt(2 pi)
// with Scott's h, from three widths below the least value to three above the
// largest. Empty where the bandwidth is 0.
//
// M. Rosenblatt, "Remarks on Some Nonparametric Estimates of a Density
// Function", 1956; E. Parzen, "On Estimation of a Probability Density Function
// and Mode", 1962. More than a few thousand different values are first spread
// over a grid, each over its two neighbours in proportion to their nearness (M.
// P. Wand, "Fast Computation of Multivariate Kernel Estimators", 1994: linear
// binning).
FEDLB_API Density EstimateDensity(std::vector<double> values);

}  // namespace fedlb

#endif  // FEDLB_SRC_REPORT_DENSITY_H_
