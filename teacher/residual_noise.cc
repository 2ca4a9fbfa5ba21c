#include "residual_noise.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb::teacher {

void ResidualNoise::Add(TensorList residual) {
  if (residuals_.size() == kMaxResiduals) {
    residuals_.erase(residuals_.begin());
  }
  residuals_.push_back(std::move(residual));
}

double ResidualNoise::AddDraw(const RandomKey& key, double factor,
                              TensorList& target) const {
  if (residuals_.empty()) {
    return 0;
  }
  RandomStream random(key);
  factor /= std::sqrt(static_cast<double>(residuals_.size()));
  TensorList draw = ZerosLike(target);
  for (const TensorList& residual : residuals_) {
    AddScaled(residual, factor * random.Normal(), draw);
  }
  AddScaled(draw, 1, target);
  return std::sqrt(SquaredNorm(draw));
}

TensorList ResidualNoise::Save() const {
  TensorList tensors;
  for (const TensorList& residual : residuals_) {
    tensors.insert(tensors.end(), residual.begin(), residual.end());
  }
  return tensors;
}

absl::Status ResidualNoise::Load(const TensorLayout& layout,
                                 const TensorList& tensors) {
  const size_t count = tensors.size() / layout.size();
  if (tensors.size() % layout.size() != 0 || count > kMaxResiduals) {
    return absl::InvalidArgumentError(
        absl::StrCat(tensors.size(), " tensors of residuals for a model of ",
                     layout.size()));
  }
  std::vector<TensorList> residuals;
  for (size_t i = 0; i < count; ++i) {
    const auto first =
        tensors.begin() + static_cast<ptrdiff_t>(i * layout.size());
    const TensorList residual(first,
                              first + static_cast<ptrdiff_t>(layout.size()));
    FEDLB_RETURN_IF_ERROR(CheckLayout(layout, residual));
    residuals.push_back(Clone(residual));
  }
  residuals_ = std::move(residuals);
  return absl::OkStatus();
}

}  // namespace fedlb::teacher
