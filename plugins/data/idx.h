// The dataset `idx`: labelled images in IDX files of any name.

#ifndef FEDLB_DATA_IDX_H_
#define FEDLB_DATA_IDX_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "data/array_dataset.h"
#include "data/augmentation.h"
#include "fedlb/param_schema.h"

namespace fedlb::data {

struct IdxOptions : AugmentOptions {
  std::string root;
  std::string train_images;
  std::string train_labels;
  std::string test_images;
  std::string test_labels;
  double mean = 0;
  double std = 1;
  int64_t num_classes = 0;
};

class Idx final : public ArrayDataset {
 public:
  using Options = IdxOptions;
  static constexpr char kName[] = "idx";
  static constexpr char kSummary[] =
      "Images and labels in IDX files, plain or gzipped.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Idx>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Idx(ArrayContents contents, const ComponentContext& context)
      : ArrayDataset(std::move(contents), context) {}
};

}  // namespace fedlb::data

#endif  // FEDLB_DATA_IDX_H_
