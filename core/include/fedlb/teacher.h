// The architecture of a fitted gradient mapper: what a large batch's gradient
// has to become so that one step with it does the work of many small ones.

#ifndef FEDLB_TEACHER_H_
#define FEDLB_TEACHER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

// How long the image is: as the displacement is expected to be, which training
// needs, or shorter, so that the squared error is least.
enum class TeacherScaling { kNormMatch, kMse };

// A gradient, and the steps that its image stands for.
struct TeacherStep {
  // Partial means are there when the teacher asks for them.
  StepContext context;
  // K, steps of the small batch over the examples behind the gradient; at
  // least 1 and not always whole, as where a last batch is short.
  double small_steps = 1;
  TeacherScaling scaling = TeacherScaling::kNormMatch;
};

// Belongs to one thread. A step is Map, then Observe with the same step.
class FEDLB_API Teacher : public Component {
 public:
  static constexpr char kKind[] = "teacher";

  // Called once, before any other call, with the layout of the gradients. Takes
  // the memory that StateBytes states.
  //
  // kInvalidArgument (kConfig): options that the layout contradicts.
  virtual absl::Status Prepare(const TensorLayout& layout) = 0;

  // Maps `gradient`, of the large batch, in place to an estimate of the
  // displacement (w_t - w_{t+K}) / lr of K steps of the small batch.
  //
  // kInvalidArgument: an empty gradient, one off the layout, or partial means
  // missing that were asked for.
  absl::Status Map(const TeacherStep& step, TensorList& gradient);

  // Learns from the partial means of the gradient that Map has just mapped. To
  // be called after Map: a teacher that has seen the gradient takes all of it
  // for familiar.
  //
  // kInvalidArgument: as for Map; values that are not finite. Nothing is learnt
  // then.
  absl::Status Observe(const TeacherStep& step);

  // Whether pairs of gradients and displacements can make the teacher better.
  virtual bool CanFit() const { return false; }
  // Whether Map leaves gradients as they are until it has been fitted.
  virtual bool NeedsFit() const { return false; }
  // Keeps what Fit needs of a pair; the step is that of its gradient, and
  // nothing of it has been observed.
  virtual absl::Status AddPair(const TeacherStep& /*step*/,
                               const DisplacementPair& /*pair*/) {
    return absl::OkStatus();
  }
  // Fits the teacher to the newest pairs; does nothing while they are too few.
  virtual absl::Status Fit() { return absl::OkStatus(); }
  // Whether Fit has taken effect.
  virtual bool fitted() const { return false; }
  // What came out of the last Fit and what the pairs look like.
  virtual ScalarMap FitReport() const { return {}; }

  // Numbers about the last Map for the log. "norm_ratio", |T(g)| / |g| in the
  // teacher's own coordinates and before any clipping, is always there.
  virtual ScalarMap Report() const = 0;

  virtual bool NeedsPartialMeans() const { return false; }

  // Bytes that the teacher keeps for weights of this layout.
  virtual int64_t StateBytes(const TensorLayout& layout) const = 0;

 private:
  virtual absl::Status DoMap(const TeacherStep& step, TensorList& gradient) = 0;
  virtual absl::Status DoObserve(const TeacherStep& step) = 0;
};

}  // namespace fedlb

#endif  // FEDLB_TEACHER_H_
