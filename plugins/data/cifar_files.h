// Reads the binary versions of CIFAR-10 and CIFAR-100.

#ifndef FEDLB_DATA_CIFAR_FILES_H_
#define FEDLB_DATA_CIFAR_FILES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "data/array_dataset.h"
#include "fedlb/logger.h"

namespace fedlb::data {

// Which of the two, and for CIFAR-100 which of its two labels.
enum class CifarLabels { kCifar10, kCifar100Fine, kCifar100Coarse };

// The images as uint8 of [3, 32, 32] and their labels. A record is one label
// (CIFAR-10) or a coarse and a fine one (CIFAR-100), then 1,024 red, green and
// blue values each. `root` is the folder of the files, or the one that has
// cifar-10-batches-bin or cifar-100-binary. A number of records other than the
// original's is logged.
//
// kDataLoss (kInputFile) with path, offset, cause and what to do: files that
// are missing, of another version or dataset, cut off or damaged.
absl::StatusOr<ArrayContents> ReadCifar(const std::string& root,
                                        CifarLabels labels, Logger& logger);

}  // namespace fedlb::data

#endif  // FEDLB_DATA_CIFAR_FILES_H_
