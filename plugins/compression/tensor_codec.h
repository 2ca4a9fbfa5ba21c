// The base of compressors that encode the values of tensors.

#ifndef FEDLB_PLUGINS_COMPRESSION_TENSOR_CODEC_H_
#define FEDLB_PLUGINS_COMPRESSION_TENSOR_CODEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/component.h"
#include "fedlb/compressor.h"
#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"

namespace fedlb::compression {

// Where error feedback keeps its list in the residual of a client.
inline constexpr char kResidual[] = "residual";

// One tensor to encode, and one to decode into.
struct Source {
  std::vector<int64_t> sizes;
  absl::Span<const float> values;
};
struct Target {
  std::vector<int64_t> sizes;
  absl::Span<float> values;
};

// What a codec draws its random numbers from: the same on both sides.
struct CodecKey {
  uint64_t seed = 0;
  int64_t round = 0;
  int64_t client = 0;
};

// Encodes the parameters as floats into a list of tensors, which travels as the
// group "compressed.<name>".
//
// With error feedback a client sends p = u + e instead of its update u and
// remembers e' = p - D(C(p)), what the encoding lost (S. P. Karimireddy et al.,
// "Error Feedback Fixes SignSGD and other Gradient Compression Schemes", ICML
// 2019, Algorithm 2, on updates that have the learning rate in them).
class TensorCodec : public Compressor {
 public:
  absl::Status Compress(Update& update, ComponentState& residual) const final;
  absl::Status Decompress(const TensorLayout& layout,
                          Update& update) const final;
  int64_t BytesPerClient(const TensorLayout& layout) const override;

 protected:
  TensorCodec(const std::string& name, bool error_feedback, uint64_t seed)
      : group_("compressed." + name),
        error_feedback_(error_feedback),
        seed_(seed) {}

 private:
  // `state` holds what the codec remembers besides the residual.
  virtual absl::StatusOr<TensorList> Encode(const std::vector<Source>& tensors,
                                            const CodecKey& key,
                                            ComponentState& state) const = 0;
  // Fills every target. Trusts nothing of `encoded`.
  virtual absl::Status Decode(const TensorList& encoded, const CodecKey& key,
                              const std::vector<Target>& tensors) const = 0;

  CodecKey KeyOf(const Update& update) const {
    return {seed_, update.round, update.client};
  }

  const std::string group_;
  const bool error_feedback_;
  const uint64_t seed_;
};

// `encoded` holds `count` tensors.
absl::Status CheckCount(const TensorList& encoded, size_t count);

// The number of values of all tensors together.
int64_t CountOf(const std::vector<Source>& tensors);
int64_t CountOf(const std::vector<Target>& tensors);

// A tensor of one dimension with so many values of a type, dense on the CPU.
absl::Status CheckVector(const at::Tensor& tensor, at::ScalarType dtype,
                         int64_t count);

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_TENSOR_CODEC_H_
