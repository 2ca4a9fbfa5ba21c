// The batch policy `constant`: one batch size for all.

#ifndef FEDLB_BATCH_CONSTANT_H_
#define FEDLB_BATCH_CONSTANT_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "fedlb/batch_policy.h"
#include "fedlb/param_schema.h"

namespace fedlb::batch {

struct ConstantOptions {
  int64_t batch_size = 64;
};

class Constant final : public BatchPolicy {
 public:
  using Options = ConstantOptions;
  static constexpr char kName[] = "constant";
  static constexpr char kSummary[] =
      "The same batch size for every client and round.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Constant>> Create(
      const Options& options, const ComponentContext& context);

 private:
  explicit Constant(int64_t batch_size) : batch_size_(batch_size) {}

  absl::StatusOr<int64_t> DoBatchSize(int64_t round, int64_t client) override;

  const int64_t batch_size_;
};

}  // namespace fedlb::batch

#endif  // FEDLB_BATCH_CONSTANT_H_
