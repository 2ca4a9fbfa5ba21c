// The datasets `mnist` and `fashion_mnist`, which share format and file names.

#ifndef FEDLB_DATA_MNIST_H_
#define FEDLB_DATA_MNIST_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "data/array_dataset.h"
#include "data/augmentation.h"
#include "fedlb/param_schema.h"

namespace fedlb::data {

struct MnistOptions : AugmentOptions {
  std::string root;
  double mean = 0.1307;
  double std = 0.3081;
};

// Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition",
// Proceedings of the IEEE 86(11), 1998.
class Mnist final : public ArrayDataset {
 public:
  using Options = MnistOptions;
  static constexpr char kName[] = "mnist";
  static constexpr char kSummary[] =
      "70,000 handwritten digits, 28 x 28, 10 classes.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Mnist>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Mnist(ArrayContents contents, const ComponentContext& context)
      : ArrayDataset(std::move(contents), context) {}
};

struct FashionMnistOptions : AugmentOptions {
  // Where Debian's package dataset-fashion-mnist has it.
  std::string root = "/usr/share/datasets/fashion-mnist";
  double mean = 0.2860;
  double std = 0.3530;
};

// H. Xiao et al., "Fashion-MNIST: a Novel Image Dataset for Benchmarking
// Machine Learning Algorithms", arXiv 1708.07747, 2017.
class FashionMnist final : public ArrayDataset {
 public:
  using Options = FashionMnistOptions;
  static constexpr char kName[] = "fashion_mnist";
  static constexpr char kSummary[] =
      "70,000 pictures of clothes, 28 x 28, 10 classes.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<FashionMnist>> Create(
      const Options& options, const ComponentContext& context);

 private:
  FashionMnist(ArrayContents contents, const ComponentContext& context)
      : ArrayDataset(std::move(contents), context) {}
};

}  // namespace fedlb::data

#endif  // FEDLB_DATA_MNIST_H_
