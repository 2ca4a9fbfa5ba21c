// Fully connected models: logistic regression and the multilayer perceptron.

#ifndef FEDLB_PLUGINS_MODELS_DENSE_H_
#define FEDLB_PLUGINS_MODELS_DENSE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "fedlb/model.h"
#include "fedlb/param_schema.h"
#include "models/layers.h"

namespace fedlb::models {

struct LogisticOptions {
  Initialization initialization = Initialization::kPytorch;
};

class Logistic final : public Model {
 public:
  using Options = LogisticOptions;
  static constexpr char kName[] = "logistic";
  static constexpr char kSummary[] =
      "Multinomial logistic regression: one linear layer on the flattened "
      "example.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Logistic>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Logistic(const Options& options, const ComponentContext& context);

  at::Tensor DoForward(const at::Tensor& inputs) override;

  at::Tensor weight_;
  at::Tensor bias_;
};

struct MlpOptions {
  std::vector<int64_t> hidden = {128};
  Initialization initialization = Initialization::kPytorch;
};

class Mlp final : public Model {
 public:
  using Options = MlpOptions;
  static constexpr char kName[] = "mlp";
  static constexpr char kSummary[] =
      "Multilayer perceptron with ReLU on the flattened example.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Mlp>> Create(
      const Options& options, const ComponentContext& context);

 private:
  Mlp(const Options& options, const ComponentContext& context);

  at::Tensor DoForward(const at::Tensor& inputs) override;

  struct Layer {
    at::Tensor weight;
    at::Tensor bias;
  };
  std::vector<Layer> layers_;
};

}  // namespace fedlb::models

#endif  // FEDLB_PLUGINS_MODELS_DENSE_H_
