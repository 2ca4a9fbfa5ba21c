// Makes updates smaller on their way to the server.

#ifndef FEDLB_COMPRESSOR_H_
#define FEDLB_COMPRESSOR_H_

#include <cstdint>

#include "absl/status/status.h"
#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

// Const and thread-safe; what a client remembers (error feedback) is in the
// residual that is passed in.
class FEDLB_API Compressor : public Component {
 public:
  static constexpr char kKind[] = "compressor";

  // Client: replaces the tensors of the group "parameters" by encoded ones, in
  // groups whose names begin with "compressed.", and updates `residual`.
  virtual absl::Status Compress(Update& update,
                                ComponentState& residual) const = 0;

  // Server: the reverse. Trusts nothing: kInvalidArgument when the encoded
  // tensors do not decode to `layout`.
  virtual absl::Status Decompress(const TensorLayout& layout,
                                  Update& update) const = 0;

  // Bytes of residual that one client keeps.
  virtual int64_t BytesPerClient(const TensorLayout& layout) const = 0;
};

}  // namespace fedlb

#endif  // FEDLB_COMPRESSOR_H_
