// What several gradient mappers have in common.

#ifndef FEDLB_PLUGINS_MAPPERS_COMMON_H_
#define FEDLB_PLUGINS_MAPPERS_COMMON_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/optimizer.h"
#include "fedlb/random.h"
#include "fedlb/tensor_list.h"

namespace fedlb::mappers {

// The description of an option that sets the batch size to imitate.
inline constexpr char kSmallBatchDescription[] =
    "Examples in the small batch that is imitated.";

// The random numbers of a mapper's step.
RandomKey KeyOf(const StepContext& context, uint64_t seed,
                absl::string_view purpose);

// target += factor * weight .* z with z standard normal, in place; `weight` may
// be null for 1.
void AddNormal(const RandomKey& key, double factor, const TensorList* weight,
               TensorList& target);

// kConfig where a mapper by scale meets an optimizer that ignores scale.
absl::Status RefuseScaleInvariance(const OptimizerTraits& traits,
                                   absl::string_view mapper);

// kInvalidArgument unless there are two partial means or more.
absl::Status NeedTwoMeans(const StepContext& context, absl::string_view mapper);

}  // namespace fedlb::mappers

#endif  // FEDLB_PLUGINS_MAPPERS_COMMON_H_
