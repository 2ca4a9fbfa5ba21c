#include "data/cifar.h"

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

template <typename Options>
ParamSchema<Options> AddNormalisation(ParamSchema<Options> schema) {
  return WithAugmentation(
      std::move(schema)
          .Add("mean", &Options::mean,
               "Subtracted from every pixel after scaling to [0, 1]: one "
               "number for each channel, or one for all.",
               InClosed(-1e6, 1e6))
          .Add("std", &Options::std,
               "What every pixel is then divided by: as for mean.",
               InClosed(1e-6, 1e6)));
}

template <typename Options>
absl::StatusOr<ArrayContents> Read(const Options& options, const char* name,
                                   const char* folder, CifarLabels labels,
                                   Logger& logger) {
  if (options.root.empty()) {
    return ConfigError(absl::StrCat("dataset ", name,
                                    ": set root to the folder ", folder,
                                    ", or to the one it lies in"));
  }
  FEDLB_RETURN_IF_ERROR(
      CheckNormalisation({3, 32, 32}, options.mean, options.std));
  FEDLB_ASSIGN_OR_RETURN(ArrayContents contents,
                         ReadCifar(options.root, labels, logger));
  contents.mean = options.mean;
  contents.std = options.std;
  FEDLB_ASSIGN_OR_RETURN(
      contents.augmentation,
      Augmentation::Create(options, contents.example_shape, true));
  return contents;
}

}  // namespace

ParamSchema<Cifar10Options> Cifar10::Schema() {
  return AddNormalisation(ParamSchema<Options>().AddLocal(
      "root", &Options::root,
      "Folder of the binary version, cifar-10-batches-bin with "
      "data_batch_1.bin to data_batch_5.bin and test_batch.bin, or the one it "
      "lies in. Must be set."));
}

absl::StatusOr<std::unique_ptr<Cifar10>> Cifar10::Create(
    const Options& options, const ComponentContext& context) {
  FEDLB_ASSIGN_OR_RETURN(ArrayContents contents,
                         Read(options, kName, "cifar-10-batches-bin",
                              CifarLabels::kCifar10, *context.logger));
  return std::unique_ptr<Cifar10>(new Cifar10(std::move(contents), context));
}

ParamSchema<Cifar100Options> Cifar100::Schema() {
  return AddNormalisation(
      ParamSchema<Options>()
          .AddLocal("root", &Options::root,
               "Folder of the binary version, cifar-100-binary with train.bin "
               "and test.bin, or the one it lies in. Must be set.")
          .AddChoice("labels", &Options::labels,
                     {{"fine", CifarLabels::kCifar100Fine},
                      {"coarse", CifarLabels::kCifar100Coarse}},
                     "The 100 classes, or the 20 groups that they form."));
}

absl::StatusOr<std::unique_ptr<Cifar100>> Cifar100::Create(
    const Options& options, const ComponentContext& context) {
  FEDLB_ASSIGN_OR_RETURN(ArrayContents contents,
                         Read(options, kName, "cifar-100-binary",
                              options.labels, *context.logger));
  return std::unique_ptr<Cifar100>(new Cifar100(std::move(contents), context));
}

}  // namespace fedlb::data
