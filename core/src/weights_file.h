// A model's weights as a safetensors state dict.

#ifndef FEDLB_SRC_WEIGHTS_FILE_H_
#define FEDLB_SRC_WEIGHTS_FILE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/model.h"
#include "fedlb/safetensors.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

// Sets the parameters and buffers of `model` from the tensors of the same names
// in the file, converted to the model's type. The file is a state dict or a
// checkpoint of a run. Tensors whose names begin with one of `skip` are left as
// they are, on either side.
//
// kInputFile naming the file and every tensor that is missing, too much or of
// another shape, up to five.
absl::Status LoadWeightsFile(const std::string& path,
                             const std::vector<std::string>& skip,
                             Model& model);

// The state dict that LoadWeightsFile reads, and PyTorch's load_state_dict.
SafetensorsFile MakeWeightsFile(const Model& model, const TensorList& weights,
                                const TensorList& buffers);

}  // namespace fedlb

#endif  // FEDLB_SRC_WEIGHTS_FILE_H_
