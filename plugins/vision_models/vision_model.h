// What the image classifiers of this plugin share: how layers are added, checks
// of the images, dropout and the choice of a stem.

#ifndef FEDLB_PLUGINS_VISION_MODELS_VISION_MODEL_H_
#define FEDLB_PLUGINS_VISION_MODELS_VISION_MODEL_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "fedlb/component.h"
#include "fedlb/model.h"
#include "vision_models/initial_values.h"
#include "vision_models/layers.h"

namespace fedlb::vision_models {

// The first layers of a network of the ImageNet family, and how far it shrinks
// an image.
enum class Stem { kAuto, kImagenet, kCifar };

std::vector<std::pair<std::string, Stem>> StemChoices();

// kAuto becomes kCifar for images whose shorter side has up to 64 pixels.
Stem ResolveStem(Stem stem, const ComponentContext& context);

inline constexpr char kDropoutDescription[] =
    "Share of activations that dropout sets to 0 while training. Which ones "
    "depends on the seed, the round, the client and the step, never on "
    "threads.";

// kConfig unless the data set has classes, and images [channels, height, width]
// with sides of at least `min_side`.
absl::Status CheckImages(absl::string_view model, int64_t min_side,
                         const ComponentContext& context);

// A classifier of images whose layers register their parameters under the
// names that torch.nn would give them: "<layer>.weight", "<layer>.bias" and,
// of batch normalisation, "<layer>.running_mean" and "<layer>.running_var".
class VisionModel : public Model {
 public:
  void SeedForward(uint64_t seed) override;

 protected:
  explicit VisionModel(const ComponentContext& context);

  // For constructors, in the order in which parameters are to stand.
  at::Tensor AddDrawn(const std::string& name,
                      const std::vector<int64_t>& sizes,
                      const Distribution& values);
  Conv AddConv(const std::string& name, const ConvShape& shape,
               const Distribution& weight, const Distribution& bias);
  Linear AddLinear(const std::string& name, int64_t inputs, int64_t outputs,
                   const Distribution& weight, const Distribution& bias);
  // With PyTorch's default initial values.
  Conv AddConv(const std::string& name, const ConvShape& shape);
  Linear AddLinear(const std::string& name, int64_t inputs, int64_t outputs);
  BatchNorm AddBatchNorm(const std::string& name, int64_t channels,
                         double initial_weight = 1);
  LayerNorm AddLayerNorm(const std::string& name, int64_t width);

  // N. Srivastava et al., "Dropout", JMLR 15, 2014, in its inverted form: while
  // training, `rate` of the elements become 0 and the others are divided by
  // 1 - rate; `x` itself otherwise. The elements are chosen by streams keyed
  // by the seed of the pass and the number of the mask within it, one number
  // per element in order, so that neither threads, nor the device, nor
  // LibTorch's generators matter.
  at::Tensor Dropout(const at::Tensor& x, double rate);

 private:
  // Checks the shape of the images: most layers would take any size.
  at::Tensor DoForward(const at::Tensor& inputs) final;
  virtual at::Tensor Logits(const at::Tensor& images) = 0;

  const ComponentContext context_;
  uint64_t forward_seed_;
  // Since the last SeedForward: the micro-batches of a step share its seed and
  // must not share masks.
  int64_t num_masks_ = 0;
};

}  // namespace fedlb::vision_models

#endif  // FEDLB_PLUGINS_VISION_MODELS_VISION_MODEL_H_
