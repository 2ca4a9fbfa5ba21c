// The compressor that sends updates as they are.

#ifndef FEDLB_PLUGINS_COMPRESSION_NONE_H_
#define FEDLB_PLUGINS_COMPRESSION_NONE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/compressor.h"
#include "fedlb/param_schema.h"

namespace fedlb::compression {

struct NoneOptions {};

class None final : public Compressor {
 public:
  using Options = NoneOptions;
  static constexpr char kName[] = "none";
  static constexpr char kSummary[] = "Sends updates as they are.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<None>> Create(
      const Options& options, const ComponentContext& context);

  absl::Status Compress(Update& update,
                        ComponentState& residual) const override;
  absl::Status Decompress(const TensorLayout& layout,
                          Update& update) const override;
  int64_t BytesPerClient(const TensorLayout& layout) const override;
};

}  // namespace fedlb::compression

#endif  // FEDLB_PLUGINS_COMPRESSION_NONE_H_
