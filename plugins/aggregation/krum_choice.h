// Krum's choice among updates of known distances.

#ifndef FEDLB_PLUGINS_AGGREGATION_KRUM_CHOICE_H_
#define FEDLB_PLUGINS_AGGREGATION_KRUM_CHOICE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fedlb::aggregation {

// Of `candidates` (indices) those with the `select` least sums of squared
// distances to their max(1, n - byzantine - 2) nearest other candidates, best
// first; of equals the one with the least sum over all others, so that the
// order of the candidates hardly ever matters: two that are each other's
// nearest tie when only one counts. At most all of them.
std::vector<size_t> ChooseByKrum(
    const std::vector<std::vector<double>>& squared_distances,
    const std::vector<size_t>& candidates, int64_t byzantine, int64_t select);

}  // namespace fedlb::aggregation

#endif  // FEDLB_PLUGINS_AGGREGATION_KRUM_CHOICE_H_
