// What rounds of the sampled Gaussian mechanism cost in privacy.

#ifndef FEDLB_PLUGINS_AGGREGATION_RDP_ACCOUNTANT_H_
#define FEDLB_PLUGINS_AGGREGATION_RDP_ACCOUNTANT_H_

#include <cstdint>

namespace fedlb::aggregation {

// The epsilon of (epsilon, delta) differential privacy after `rounds` rounds in
// each of which every client takes part with probability `sampling_rate`
// (0 to 1), on its own, and normal noise of `noise_multiplier` times the
// largest contribution of one client is added to the sum. Adding or removing
// one client makes two neighbours. Infinite without noise, 0 without rounds.
//
// I. Mironov, K. Talwar, L. Zhang, "Rényi Differential Privacy of the Sampled
// Gaussian Mechanism", 2019, sections 3.3 and 3.4, at orders 1.1 to 63; the
// conversion is that of B. Balle et al., "Hypothesis Testing Interpretations
// and Rényi Differential Privacy", AISTATS 2020, Theorem 21.
double EpsilonOf(double noise_multiplier, double sampling_rate, int64_t rounds,
                 double delta);

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_RDP_ACCOUNTANT_H_
