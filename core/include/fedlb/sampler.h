// Chooses the clients of a round.

#ifndef FEDLB_SAMPLER_H_
#define FEDLB_SAMPLER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/component.h"
#include "fedlb/export.h"

namespace fedlb {

struct SamplingRequest {
  int64_t round = 0;
  int64_t cohort_size = 0;
  // Number of training examples of each client of the federation.
  absl::Span<const int64_t> num_examples;
};

class FEDLB_API Sampler : public Component {
 public:
  static constexpr char kKind[] = "sampler";

  // The cohort of a round: distinct clients, in the order in which their
  // updates are added. Depends on the request and the seed only, never on
  // earlier calls.
  absl::StatusOr<std::vector<int64_t>> Sample(const SamplingRequest& request);

 private:
  virtual absl::StatusOr<std::vector<int64_t>> DoSample(
      const SamplingRequest& request) = 0;
};

}  // namespace fedlb

#endif  // FEDLB_SAMPLER_H_
