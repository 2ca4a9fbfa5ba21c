// The dataset `tensors`: arrays that a script has saved.

#ifndef FEDLB_DATA_TENSORS_H_
#define FEDLB_DATA_TENSORS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "data/array_dataset.h"
#include "data/augmentation.h"
#include "fedlb/param_schema.h"

namespace fedlb::data {

struct TensorsOptions : AugmentOptions {
  std::string train;
  std::string test;
  std::string x_train;
  std::string y_train;
  std::string x_test;
  std::string y_test;
  std::vector<double> mean = {0};
  std::vector<double> std = {1};
  int64_t num_classes = 0;
};

// Each split is one safetensors file or two NPY files, with the examples x of
// [n, ...], uint8 or float32, and the labels y of [n], integers.
class Tensors final : public ArrayDataset {
 public:
  using Options = TensorsOptions;
  static constexpr char kName[] = "tensors";
  static constexpr char kSummary[] =
      "Examples and labels of your own, in safetensors or NPY files.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Tensors>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Tensors(ArrayContents contents, const ComponentContext& context)
      : ArrayDataset(std::move(contents), context) {}
};

}  // namespace fedlb::data

#endif  // FEDLB_DATA_TENSORS_H_
