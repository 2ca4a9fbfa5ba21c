// The function that is trained.

#ifndef FEDLB_MODEL_H_
#define FEDLB_MODEL_H_

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

// Parameters and buffers with names and a fixed order, and a forward pass.
//
// Create makes the initial weights from context.seed alone, so that every copy
// of a model starts with the same bits. One instance is used by one thread at
// a time.
class FEDLB_API Model : public Component {
 public:
  static constexpr char kKind[] = "model";

  // Handles to the model's own tensors; writing to them changes the model.
  // Parameters are leaves that require gradients.
  const TensorList& parameters() const { return parameters_; }
  const TensorList& buffers() const { return buffers_; }
  const TensorLayout& parameter_layout() const { return parameter_layout_; }
  const TensorLayout& buffer_layout() const { return buffer_layout_; }

  // Logits [b, num_classes] of inputs [b, ...example shape].
  absl::StatusOr<at::Tensor> Forward(const at::Tensor& inputs);

  // Mean cross entropy of `logits` with targets [b] (int64), smoothed while
  // training, unless the model defines another.
  absl::StatusOr<at::Tensor> Loss(const at::Tensor& logits,
                                  const at::Tensor& targets);

  // Training mode (dropout on, batch statistics) or evaluation mode.
  void SetTraining(bool training);
  bool training() const { return training_; }

  // Share of the target that the loss spreads evenly over all classes while
  // training (C. Szegedy et al., CVPR 2016, section 7).
  void set_label_smoothing(double share) { label_smoothing_ = share; }
  double label_smoothing() const { return label_smoothing_; }

  // Fixes the random numbers of the following forward pass (dropout).
  virtual void SeedForward(uint64_t /*seed*/) {}

 protected:
  // For constructors. The tensor is kept; a parameter begins to require
  // gradients.
  at::Tensor AddParameter(const std::string& name, at::Tensor tensor);
  at::Tensor AddBuffer(const std::string& name, at::Tensor tensor);

 private:
  virtual at::Tensor DoForward(const at::Tensor& inputs) = 0;
  virtual at::Tensor DoLoss(const at::Tensor& logits,
                            const at::Tensor& targets);

  TensorList parameters_;
  TensorList buffers_;
  TensorLayout parameter_layout_;
  TensorLayout buffer_layout_;
  bool training_ = true;
  double label_smoothing_ = 0;
};

}  // namespace fedlb

#endif  // FEDLB_MODEL_H_
