// Labelled images stored as two pairs of IDX files.

#ifndef FEDLB_DATA_IDX_IMAGES_H_
#define FEDLB_DATA_IDX_IMAGES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/array_dataset.h"

namespace fedlb::data {

struct IdxImagePaths {
  std::string train_images;
  std::string train_labels;
  std::string test_images;
  std::string test_labels;
};

// The four files of MNIST's naming (train-images-idx3-ubyte and so on, plain or
// .gz), all in the first of root/<folder> that has one of them.
//
// kDataLoss (kInputFile) that lists what was looked for where, and ends with
// `advice`.
absl::StatusOr<IdxImagePaths> FindIdxImages(
    const std::string& root, const std::vector<std::string>& folders,
    absl::string_view advice);

// Reads and checks the four files. Images are uint8, which become numbers in
// [0, 1], or float32, which stay what they are: [n, h, w] gives examples of
// shape [1, h, w], [n, c, h, w] of [c, h, w] and [n, d] of [d]. `num_classes`
// of 0 means the largest label + 1.
//
// kDataLoss (kInputFile) with the path and what is wrong with the file.
absl::StatusOr<ArrayContents> ReadIdxImages(const IdxImagePaths& paths,
                                            int64_t num_classes);

}  // namespace fedlb::data

#endif  // FEDLB_DATA_IDX_IMAGES_H_
