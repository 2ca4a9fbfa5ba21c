// The dataset `food101`.

#ifndef FEDLB_DATA_FOOD101_H_
#define FEDLB_DATA_FOOD101_H_

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "data/array_dataset.h"
#include "data/image_loader.h"
#include "fedlb/param_schema.h"

namespace fedlb::data {

struct Food101Options : ImageOptions {};

// L. Bossard et al., "Food-101 - Mining Discriminative Components with Random
// Forests", ECCV 2014. The labels of the training images contain errors, by the
// authors' intention. Classes are numbered in the order of their names.
class Food101 final : public ArrayDataset {
 public:
  using Options = Food101Options;
  static constexpr char kName[] = "food101";
  static constexpr char kSummary[] =
      "101,000 photographs of dishes, up to 512 x 512, 101 classes.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Food101>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Food101(ArrayContents contents, const ComponentContext& context)
      : ArrayDataset(std::move(contents), context) {}
};

}  // namespace fedlb::data

#endif  // FEDLB_DATA_FOOD101_H_
