// What the conformance suites are written with.

#ifndef FEDLB_SRC_CONFORMANCE_SUITE_H_
#define FEDLB_SRC_CONFORMANCE_SUITE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/component.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "fedlb/testing/conformance.h"

namespace fedlb::conformance {

// One component under test and what was found out about it.
class Suite {
 public:
  Suite(const ComponentEntry& entry, const ComponentRegistry& registry,
        const Deviations& deviations)
      : entry_(entry), registry_(registry), deviations_(deviations) {}

  // Runs `body` and records what it returns, or threw, under `name`.
  void Check(absl::string_view name, absl::FunctionRef<absl::Status()> body);

  // Surroundings like those of a small image classification.
  ComponentContext Context() const;

  absl::StatusOr<std::unique_ptr<Component>> CreateAny(
      const ComponentContext& context) const;

  // T is the interface of entry().kind.
  template <typename T>
  absl::StatusOr<std::unique_ptr<T>> Create(
      const ComponentContext& context) const {
    FEDLB_ASSIGN_OR_RETURN(std::unique_ptr<Component> component,
                           CreateAny(context));
    return std::unique_ptr<T>(static_cast<T*>(component.release()));
  }
  template <typename T>
  absl::StatusOr<std::unique_ptr<T>> Create() const {
    return Create<T>(Context());
  }

  const ComponentEntry& entry() const { return entry_; }
  const Deviations& deviations() const { return deviations_; }
  std::vector<CheckResult>& results() { return results_; }

 private:
  const ComponentEntry& entry_;
  const ComponentRegistry& registry_;
  const Deviations& deviations_;
  std::vector<CheckResult> results_;
};

// What a check returns that cannot be tried.
absl::Status Skipped(absl::string_view why);
bool IsSkipped(const absl::Status& status);

// OK when `holds`; otherwise the check fails with `message`.
absl::Status Expect(bool holds, absl::string_view message);

// OK when `status` has `code`; `call` names what was called.
absl::Status ExpectCode(const absl::Status& status, absl::StatusCode code,
                        absl::string_view call);

// Shapes, types and bytes.
absl::Status ExpectSameBits(const TensorList& a, const TensorList& b,
                            absl::string_view what);

// Shapes, and values to within `tolerance` of the largest of them.
absl::Status ExpectClose(const TensorList& a, const TensorList& b,
                         double tolerance, absl::string_view what);

absl::Status ExpectFinite(const TensorList& tensors, absl::string_view what);

// Standard normal numbers that depend on the layout's shapes and `seed` only.
TensorList RandomTensors(const TensorLayout& layout, uint64_t seed);

// Tensors of 0, 1, 10 and 1000 elements.
TensorLayout MixedLayout(at::ScalarType dtype);

// The suites, one per kind.
void CheckComponent(Suite& suite);
void CheckAggregator(Suite& suite);
void CheckBatchPolicy(Suite& suite);
void CheckClientAlgorithm(Suite& suite);
void CheckCompressor(Suite& suite);
void CheckDataset(Suite& suite);
void CheckGradientMapper(Suite& suite);
void CheckLrSchedule(Suite& suite);
void CheckModel(Suite& suite);
void CheckOptimizer(Suite& suite);
void CheckPartitioner(Suite& suite);
void CheckSampler(Suite& suite);
void CheckSyncPolicy(Suite& suite);
void CheckTeacher(Suite& suite);
void CheckTransport(Suite& suite);

}  // namespace fedlb::conformance

#endif  // FEDLB_SRC_CONFORMANCE_SUITE_H_
