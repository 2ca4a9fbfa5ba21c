// The base of compressors that round values to small integers.

#ifndef FEDLB_PLUGINS_COMPRESSION_QUANTIZING_CODEC_H_
#define FEDLB_PLUGINS_COMPRESSION_QUANTIZING_CODEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "compression/quantization.h"
#include "compression/tensor_codec.h"

namespace fedlb::compression {

class QuantizingCodec : public TensorCodec {
 protected:
  QuantizingCodec(const std::string& name, bool error_feedback, uint64_t seed,
                  const Quantization& quantization)
      : TensorCodec(name, error_feedback, seed), quantization_(quantization) {}

 private:
  absl::StatusOr<TensorList> Encode(const std::vector<Source>& tensors,
                                    const CodecKey& key,
                                    ComponentState& /*state*/) const final {
    return Quantize(quantization_, key, tensors);
  }
  absl::Status Decode(const TensorList& encoded, const CodecKey& /*key*/,
                      const std::vector<Target>& tensors) const final {
    return Dequantize(quantization_, encoded, tensors);
  }

  const Quantization quantization_;
};

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_QUANTIZING_CODEC_H_
