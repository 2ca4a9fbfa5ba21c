// What the teachers that are fitted by gradient descent have in common.

#ifndef FEDLB_TEACHER_NETWORK_TEACHER_H_
#define FEDLB_TEACHER_NETWORK_TEACHER_H_

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "fedlb/component.h"
#include "fedlb/param_schema.h"
#include "fedlb/teacher.h"
#include "fedlb/tensor_list.h"
#include "piece_grid.h"

namespace fedlb::teacher {

struct NetworkTeacherOptions {
  int64_t fit_steps = 40;
  double fit_lr = 0.005;
  double clip_norm = -1;
};

// `schema` with NetworkTeacherOptions, from which Options derives.
template <typename Options>
ParamSchema<Options> WithFitOptions(ParamSchema<Options> schema) {
  return std::move(schema)
      .Add("fit_steps", static_cast<int64_t Options::*>(&Options::fit_steps),
           "Adam steps on the network after every new pair.", AtLeast(1))
      .Add("fit_lr", static_cast<double Options::*>(&Options::fit_lr),
           "Learning rate of those steps, which falls to 0 within each fit.",
           GreaterThan(0))
      .Add("clip_norm", static_cast<double Options::*>(&Options::clip_norm),
           "Largest L2 norm of the mapped gradient; 0 for none. -1 takes it "
           "from the newest displacements.",
           AtLeast(-1));
}

// A network T that reads a gradient in pieces and is fitted to pairs of
// gradients g and displacements D: Adam on the mean of |T(g) - D|^2 / |D|^2, a
// few steps after every new pair, from the weights of the last fit. It begins
// as K times the best constant for the first pairs and learns what to add.
//
// The squared error makes T(g) shorter than D by about the cosine between them.
// For TeacherScaling::kNormMatch it is divided by that cosine (median over the
// pairs) and clipped to 0.9 times the median norm of the newest displacements.
//
// The gradient stays as it is until there are three pairs.
class NetworkTeacher : public Teacher {
 public:
  absl::Status Prepare(const TensorLayout& layout) final;
  // "gain" (the length of T(g) along g, over |g|), "cosine" of both,
  // "norm_ratio" before clipping and "clip_factor".
  ScalarMap Report() const final { return report_; }
  int64_t StateBytes(const TensorLayout& layout) const final;
  bool CanFit() const final { return true; }
  bool NeedsFit() const final { return true; }
  absl::Status AddPair(const TeacherStep& step,
                       const DisplacementPair& pair) final;
  absl::Status Fit() final;
  bool fitted() const final { return num_fits_ > 0; }
  // "loss" and "cosine" (medians over the pairs), "constant_gain", "clip_norm"
  // and the network's "parameters".
  ScalarMap FitReport() const final;
  ComponentState SaveState() const final;
  absl::Status LoadState(const ComponentState& state) final;

 protected:
  // Numbers that describe a piece of a gradient and the step it belongs to.
  static constexpr int64_t kNumFeatures = 10;
  // The network's factor on a piece is within this of the constant gain.
  static constexpr double kMostGainFactor = 16;

  struct Network {
    int64_t piece_size = 0;  // most elements of a piece
    // Parameters and the deviations of their initial values (normal, mean 0).
    TensorLayout parameters;
    std::vector<double> deviations;
    // Of what is kept of a pair besides the features of the pieces kept.
    TensorLayout example;
    int64_t example_pieces = 0;

    void Add(const char* name, std::vector<int64_t> sizes, double deviation);
  };

  NetworkTeacher(const NetworkTeacherOptions& options, uint64_t seed)
      : options_(options), seed_(seed) {}

  // Parameters of the network, as in Network::parameters.
  const at::Tensor& parameter(size_t index) const { return network_[index]; }
  int64_t num_pieces() const { return grid_.num_pieces(); }

  // exp(log_gain), held within kMostGainFactor of 1.
  static at::Tensor BoundedGain(const at::Tensor& log_gain);

  virtual Network Describe(const TensorLayout& layout) const = 0;
  // What to keep of a pair, and the features of the pieces that it is of. Rows
  // [pieces, piece_size] are padded with zeros. Those of the displacement are
  // over its norm, those of the gradient too and times K.
  virtual TensorList MakeExample(const at::Tensor& gradient,
                                 const at::Tensor& displacement,
                                 at::Tensor& features) const = 0;
  // |T|^2 and T . D over |D|^2 of an example for a constant gain of 1 [2].
  // Differentiable by the parameters.
  virtual at::Tensor Moments(const at::Tensor& features,
                             const TensorList& example) const = 0;
  // T of the pieces `rows` [pieces, piece_size], in place, for a constant gain
  // of 1. What it leaves in the padding does not matter.
  virtual void Apply(const at::Tensor& features, at::Tensor& rows) const = 0;

 private:
  // A pair: features [pieces kept, kNumFeatures], then its example.
  struct Pair {
    TensorList tensors;
    double displacement_norm = 0;
  };

  absl::Status DoMap(const TeacherStep& step, TensorList& gradient) final;
  absl::Status DoObserve(const TeacherStep& step) final;

  at::Tensor FeaturesOf(const TeacherStep& step, const at::Tensor& rows) const;
  at::Tensor Standardised(const at::Tensor& features) const;
  // Moments of a pair with the constant gain.
  at::Tensor MomentsOf(const Pair& pair) const;
  void BeginFitting();
  void Descend();

  const NetworkTeacherOptions options_;
  const uint64_t seed_;
  TensorLayout layout_;
  TensorLayout pair_layout_;
  TensorLayout network_layout_;
  PieceGrid grid_;
  at::Tensor piece_features_;  // what does not change [pieces, 3]
  at::Tensor counts_;          // elements of the pieces [pieces]
  TensorList network_;
  std::deque<Pair> pairs_;
  int64_t num_fits_ = 0;
  at::Tensor feature_mean_;  // [kNumFeatures], from the first fit on
  at::Tensor feature_scale_;
  double constant_gain_ = 1;
  double cosine_ = 1;
  double loss_ = 1;
  double clip_norm_ = 0;
  ScalarMap report_ = {{"norm_ratio", 1}};
};

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_NETWORK_TEACHER_H_
