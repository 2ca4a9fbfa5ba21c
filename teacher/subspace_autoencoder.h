// The teacher that moves far where gradients are many and small, and little
// where they are few and large.

#ifndef FEDLB_TEACHER_SUBSPACE_AUTOENCODER_H_
#define FEDLB_TEACHER_SUBSPACE_AUTOENCODER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/component.h"
#include "fedlb/param_schema.h"
#include "fedlb/teacher.h"
#include "fedlb/tensor_list.h"
#include "gate_fit.h"
#include "gradient_subspace.h"
#include "pair_codes.h"
#include "parameter_blocks.h"

namespace fedlb::teacher {

enum class Coordinates { kRaw, kAdam };

struct SubspaceAutoencoderOptions {
  int64_t rank = 32;
  BlockScope basis = BlockScope::kGlobal;
  BasisPrecision basis_precision = BasisPrecision::kFull;
  double forgetting = 0.9;
  int64_t update_every = 1;
  Coordinates coordinates = Coordinates::kRaw;
  double bulk_gain = 0;
  double min_gain = 0.5;
  double curvature_scale = 1;
  double clip_norm = -1;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double eps = 1e-8;
};

// K small-batch steps go about K times as far as one large-batch step where the
// loss is flat, and hardly farther where it curves. Most of a gradient's norm
// lies in the few directions that curve, most of the displacement outside of
// them. They are the dominant directions of the micro-batches' gradients, which
// a linear tied autoencoder V (GradientSubspace) learns as training goes. With
// the code c = V g and the singular values s of V, for micro-batches of m
// examples,
//   T(g) = a (g - V^T c) + V^T (f .* c),
//   f_j = clamp(phi(curvature_scale * lr * m * s_j^2; K), min_gain, a),
// where phi is DisplacementGain and m s_j^2 stands for the curvature, as the
// empirical Fisher information does. |T(g)| is then clipped. The gain is 1
// until the first gradients have been observed.
//
// Fit chooses curvature_scale, a and the norm of the clipping from pairs, which
// keep no more than their codes: the curvature_scale whose gains come nearest
// to the displacements' codes, the median of what a would have been (for
// TeacherScaling::kNormMatch divided by the cosine of bulk and displacement, so
// that the image is as long as the displacement), and 0.9 times the median norm
// of the newest displacements. Coordinates::kAdam has no displacement to fit
// to.
//
// With Coordinates::kAdam the same is done to s .* g with
// s = (sqrt(v) + eps)^(-1/2), v the bias-corrected running mean of g^2; the
// result is s .* T(s .* g), of which the bias-corrected running mean by beta1
// is taken. lr is then of Adam's size.
class SubspaceAutoencoder final : public Teacher {
 public:
  using Options = SubspaceAutoencoderOptions;
  static constexpr char kName[] = "subspace_autoencoder";
  static constexpr char kSummary[] =
      "Splits the gradient into the few directions that dominate and the rest, "
      "and gives each the gain that small batches have there.";

  static ParamSchema<Options> Schema();
  // kInvalidArgument: contradictory options.
  static absl::StatusOr<std::unique_ptr<SubspaceAutoencoder>> Create(
      const Options& options, const ComponentContext& context);

  absl::Status Prepare(const TensorLayout& layout) override;
  // "gain" (of the bulk, clipping included), "code_gain" (mean over the code,
  // weighted by its energy), "code_energy" (share of |g|^2 in the code),
  // "cosine" of g and T(g), "norm_ratio" before clipping and "clip_factor", all
  // of them in the teacher's coordinates.
  ScalarMap Report() const override { return report_; }
  bool NeedsPartialMeans() const override { return options_.rank > 0; }
  int64_t StateBytes(const TensorLayout& layout) const override;
  bool CanFit() const override { return !UsesAdam() && options_.rank > 0; }
  absl::Status AddPair(const TeacherStep& step,
                       const DisplacementPair& pair) override;
  absl::Status Fit() override;
  bool fitted() const override { return gates_.has_value(); }
  // "curvature_scale", "bulk_gain", "clip_norm", and the shares of the energy
  // of gradients and displacements in the code (median over pairs), with basis
  // = "layer" also of every layer.
  ScalarMap FitReport() const override;
  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

 private:
  // A block's autoencoder and, in Adam's coordinates, its running means [n],
  // before the correction of their bias.
  struct Block {
    ParameterBlock parameters;
    GradientSubspace subspace;
    at::Tensor square_mean;
    at::Tensor update_mean;
  };

  // A block of a gradient on its way through the teacher.
  struct BlockImage {
    at::Tensor vector;       // [n], in the teacher's coordinates
    at::Tensor square_mean;  // with this gradient, in Adam's coordinates
    at::Tensor scale;        // s [n], likewise
    double energy = 0;       // |g|^2
    std::vector<double> code;
    std::vector<double> code_gain;  // f
    double bulk_gain = 1;           // a
  };

  explicit SubspaceAutoencoder(const Options& options) : options_(options) {}

  absl::Status DoMap(const TeacherStep& step, TensorList& gradient) override;
  absl::Status DoObserve(const TeacherStep& step) override;

  bool UsesAdam() const { return options_.coordinates == Coordinates::kAdam; }
  double ClipNorm(const TeacherStep& step) const;
  double BulkGain(const TeacherStep& step) const;

  absl::Status CheckState(const ComponentState& state) const;

  // s for running means that have taken in `count` gradients.
  at::Tensor ScaleOf(const at::Tensor& square_mean, int64_t count) const;
  BlockImage Encode(const Block& block, const TeacherStep& step,
                    const TensorList& gradient) const;
  // T(g) in the place of g; `shrink` is the factor of the clipping.
  void Decode(const Block& block, double shrink, BlockImage& image) const;
  // From the teacher's coordinates to the update, which is averaged when the
  // teacher may learn.
  void ToUpdate(bool may_learn, BlockImage& image, Block& block) const;

  const Options options_;
  TensorLayout layout_;
  std::vector<Block> blocks_;
  int64_t num_maps_ = 0;  // those that learnt
  int64_t num_observed_ = 0;
  double group_examples_ = 0;  // m, of the newest partial means
  PairCodes pairs_;
  std::optional<FittedGates> gates_;
  ScalarMap report_ = {{"norm_ratio", 1}};
};

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_SUBSPACE_AUTOENCODER_H_
