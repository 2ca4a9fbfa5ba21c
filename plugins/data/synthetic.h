// The dataset `synthetic`: generated examples for tests and benchmarks.

#ifndef FEDLB_DATA_SYNTHETIC_H_
#define FEDLB_DATA_SYNTHETIC_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "data/array_dataset.h"
#include "fedlb/param_schema.h"

namespace fedlb::data {

struct SyntheticOptions {
  std::vector<int64_t> shape = {1, 28, 28};
  int64_t classes = 10;
  int64_t train_size = 6000;
  int64_t test_size = 1000;
  double noise = 1;
  int64_t seed = 0;
};

// Example i has class i mod `classes` and the values
//   x = 0.5 * prototype[class] + noise * z
// where the prototypes and z are standard normal. An example depends on the
// seed, its split and i alone, so a larger dataset starts with the smaller one.
class Synthetic final : public ArrayDataset {
 public:
  using Options = SyntheticOptions;
  static constexpr char kName[] = "synthetic";
  static constexpr char kSummary[] =
      "Generated examples: a prototype per class, and noise.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Synthetic>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Synthetic(ArrayContents contents, const ComponentContext& context)
      : ArrayDataset(std::move(contents), context) {}
};

}  // namespace fedlb::data

#endif  // FEDLB_DATA_SYNTHETIC_H_
