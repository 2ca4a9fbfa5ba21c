#include "mappers/common.h"

#include <cstddef>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Generator.h>
#include <ATen/ops/randn.h>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb::mappers {

RandomKey KeyOf(const StepContext& context, uint64_t seed,
                absl::string_view purpose) {
  return {.seed = seed,
          .purpose = purpose,
          .round = context.round,
          .client = context.client,
          .step = context.step};
}

void AddNormal(const RandomKey& key, double factor, const TensorList* weight,
               TensorList& target) {
  at::Generator generator =
      at::make_generator<at::CPUGeneratorImpl>(HashKey(key));
  for (size_t i = 0; i < target.size(); ++i) {
    const at::Tensor normal =
        at::randn(target[i].sizes(), generator,
                  at::TensorOptions().dtype(target[i].scalar_type()));
    if (weight == nullptr) {
      target[i].add_(normal, factor);
    } else {
      target[i].addcmul_((*weight)[i], normal, factor);
    }
  }
}

absl::Status RefuseScaleInvariance(const OptimizerTraits& traits,
                                   absl::string_view mapper) {
  if (!traits.scale_invariant) {
    return absl::OkStatus();
  }
  return ConfigError(absl::StrCat(
      "the mapper ", mapper,
      " changes the gradient's scale, which the optimizer's step does not "
      "depend on; use optimizer sgd"));
}

absl::Status NeedTwoMeans(const StepContext& context,
                          absl::string_view mapper) {
  if (context.partial_means.size() >= 2) {
    return absl::OkStatus();
  }
  return ConfigError(absl::StrCat(
      "the mapper ", mapper,
      " compares the gradients of two or more parts of the batch and got one: "
      "with gradient_mapper.scope = \"server\" these are the cohort's clients, "
      "with \"client\" the micro-batches (batch_policy.micro_batch_size)"));
}

}  // namespace fedlb::mappers
