#include "aggregation/mean.h"

namespace fedlb::aggregation {

ParamSchema<MeanOptions> Mean::Schema() {
  return ParamSchema<Options>().AddChoice(
      "weighting", &Options::weighting,
      {{"examples", Weighting::kExamples}, {"uniform", Weighting::kUniform}},
      "Weight of a client: the number of examples behind its update, or the "
      "same for all (the paper's Eq 1a).");
}

absl::StatusOr<std::unique_ptr<Mean>> Mean::Create(
    const Options& options, const ComponentContext& /*context*/) {
  return std::unique_ptr<Mean>(new Mean(options));
}

std::optional<TensorList> Mean::LinearState() { return mean_.LinearState(); }

absl::Status Mean::DoBegin(const TensorLayout& layout) {
  mean_.Begin(layout);
  return absl::OkStatus();
}

absl::Status Mean::DoAdd(const Update& update) {
  const bool by_examples = options_.weighting == Weighting::kExamples;
  mean_.Add(update.parameters(),
            by_examples ? static_cast<double>(update.num_examples) : 1);
  return absl::OkStatus();
}

absl::StatusOr<TensorList> Mean::DoFinish() { return mean_.Mean(); }

}  // namespace fedlb::aggregation
