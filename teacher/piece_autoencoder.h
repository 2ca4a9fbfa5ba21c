// A teacher that knows how displacements look where a gradient looks like this.

#ifndef FEDLB_TEACHER_PIECE_AUTOENCODER_H_
#define FEDLB_TEACHER_PIECE_AUTOENCODER_H_

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "fedlb/component.h"
#include "fedlb/param_schema.h"
#include "fedlb/tensor_list.h"
#include "network_teacher.h"

namespace fedlb::teacher {

struct PieceAutoencoderOptions : NetworkTeacherOptions {
  int64_t piece_size = 256;
  int64_t hidden = 64;
  int64_t code = 16;
};

// A perceptron with a bottleneck for pieces x_i = g_i / r_i of the gradient,
// where r_i is the root mean square of g_i: a residual beside them and a gain,
// both from the code.
//   c_i = encoder(x_i, description of the piece and of the step)
//   T(g)_i = a K exp(h(c_i)) r_i (x_i + decoder(c_i)), with a constant a
// All pieces of all layers share it.
class PieceAutoencoder final : public NetworkTeacher {
 public:
  using Options = PieceAutoencoderOptions;
  static constexpr char kName[] = "autoencoder";
  static constexpr char kSummary[] =
      "Maps pieces of the gradient by a perceptron with a bottleneck, a "
      "residual connection and a gain.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<PieceAutoencoder>> Create(
      const Options& options, const ComponentContext& context);

 private:
  PieceAutoencoder(const Options& options, uint64_t seed)
      : NetworkTeacher(options, seed), options_(options) {}

  Network Describe(const TensorLayout& layout) const override;
  // Of models of many pieces kMostPieces are kept, at equal distances.
  TensorList MakeExample(const at::Tensor& gradient,
                         const at::Tensor& displacement,
                         at::Tensor& features) const override;
  at::Tensor Moments(const at::Tensor& features,
                     const TensorList& example) const override;
  void Apply(const at::Tensor& features, at::Tensor& rows) const override;

  at::Tensor Image(const at::Tensor& features, const at::Tensor& rows) const;

  static constexpr int64_t kMostPieces = 2048;

  const Options options_;
};

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_PIECE_AUTOENCODER_H_
