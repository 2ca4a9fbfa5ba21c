// The datasets `cifar10` and `cifar100`.

#ifndef FEDLB_DATA_CIFAR_H_
#define FEDLB_DATA_CIFAR_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "data/array_dataset.h"
#include "data/augmentation.h"
#include "data/cifar_files.h"
#include "fedlb/param_schema.h"

namespace fedlb::data {

struct Cifar10Options : AugmentOptions {
  std::string root;
  // Over all pixels of the training images, the standard deviation too. The
  // numbers 0.2023, 0.1994, 0.2010 that are often seen are means over the
  // images of each one's own standard deviation.
  std::vector<double> mean = {0.4914, 0.4822, 0.4465};
  std::vector<double> std = {0.2470, 0.2435, 0.2616};
};

// A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
// technical report, University of Toronto, 2009.
class Cifar10 final : public ArrayDataset {
 public:
  using Options = Cifar10Options;
  static constexpr char kName[] = "cifar10";
  static constexpr char kSummary[] =
      "60,000 colour photographs, 32 x 32, 10 classes.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Cifar10>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Cifar10(ArrayContents contents, const ComponentContext& context)
      : ArrayDataset(std::move(contents), context) {}
};

struct Cifar100Options : AugmentOptions {
  std::string root;
  CifarLabels labels = CifarLabels::kCifar100Fine;
  std::vector<double> mean = {0.5071, 0.4865, 0.4409};
  std::vector<double> std = {0.2673, 0.2564, 0.2762};
};

// The same report.
class Cifar100 final : public ArrayDataset {
 public:
  using Options = Cifar100Options;
  static constexpr char kName[] = "cifar100";
  static constexpr char kSummary[] =
      "60,000 colour photographs, 32 x 32, 100 classes in 20 groups.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Cifar100>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Cifar100(ArrayContents contents, const ComponentContext& context)
      : ArrayDataset(std::move(contents), context) {}
};

}  // namespace fedlb::data

#endif  // FEDLB_DATA_CIFAR_H_
