// The dataset `caltech101`.

#ifndef FEDLB_DATA_CALTECH101_H_
#define FEDLB_DATA_CALTECH101_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "data/array_dataset.h"
#include "data/image_loader.h"
#include "fedlb/param_schema.h"

namespace fedlb::data {

struct Caltech101Options : ImageOptions {
  bool keep_background = false;
  double test_fraction = 0.2;
  int64_t train_per_class = 0;
  int64_t split_seed = 0;
};

// L. Fei-Fei et al., "Learning Generative Visual Models from Few Training
// Examples", CVPR Workshop on Generative-Model Based Vision, 2004. The authors
// give no split; common are 30 images of each class for training, or a share.
class Caltech101 final : public ArrayDataset {
 public:
  using Options = Caltech101Options;
  static constexpr char kName[] = "caltech101";
  static constexpr char kSummary[] =
      "8,677 photographs of objects, about 300 x 200, 101 classes.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Caltech101>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Caltech101(ArrayContents contents, const ComponentContext& context)
      : ArrayDataset(std::move(contents), context) {}
};

}  // namespace fedlb::data

#endif  // FEDLB_DATA_CALTECH101_H_
