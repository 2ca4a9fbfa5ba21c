#include "subspace_autoencoder.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "absl/strings/str_cat.h"
#include "displacement_gain.h"
#include "fedlb/status.h"

namespace fedlb::teacher {
namespace {

constexpr double kDefaultClipNorm = 4;

// Names in the state.
constexpr char kBasis[] = "basis";
constexpr char kSingularValues[] = "singular_values";
constexpr char kSquareMean[] = "square_mean";
constexpr char kUpdateMean[] = "update_mean";
constexpr char kNumMaps[] = "num_maps";
constexpr char kNumObserved[] = "num_observed";
constexpr char kNumUpdates[] = "num_updates";
constexpr char kGroupExamples[] = "group_examples";
constexpr char kPairs[] = "pairs";
constexpr char kFittedCurvatureScale[] = "fitted_curvature_scale";
constexpr char kFittedBulkGain[] = "fitted_bulk_gain";
constexpr char kFittedMseBulkGain[] = "fitted_mse_bulk_gain";
constexpr char kFittedClipNorm[] = "fitted_clip_norm";

double SumOfSquares(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) {
    sum += value * value;
  }
  return sum;
}

}  // namespace

ParamSchema<SubspaceAutoencoderOptions> SubspaceAutoencoder::Schema() {
  return ParamSchema<Options>()
      .Add("rank", &Options::rank,
           "Directions that the autoencoder keeps, in each layer with basis = "
           "\"layer\". 0 for none: every direction then gets bulk_gain.",
           InClosed(0, 1024))
      .AddChoice(
          "basis", &Options::basis,
          {{"global", BlockScope::kGlobal}, {"layer", BlockScope::kLayer}},
          "One autoencoder for all parameters, or one for every layer, "
          "which suits large models with a rank of 16.")
      .AddChoice(
          "basis_precision", &Options::basis_precision,
          {{"fp32", BasisPrecision::kFull}, {"bf16", BasisPrecision::kBf16}},
          "How the directions are kept; bf16 halves the memory.")
      .Add("forgetting", &Options::forgetting,
           "Weight of older gradients against those of the newest update.",
           InHalfOpen(0, 1))
      .Add("update_every", &Options::update_every,
           "Steps from one update of the autoencoder to the next.", AtLeast(1))
      .AddChoice("coordinates", &Options::coordinates,
                 {{"raw", Coordinates::kRaw}, {"adam", Coordinates::kAdam}},
                 "Work on the gradient as it is, or scaled by Adam's second "
                 "moment; optimizer.lr must then be of Adam's size (0.001 to "
                 "0.003).")
      .Add("bulk_gain", &Options::bulk_gain,
           "Factor on what is outside the autoencoder's directions, and the "
           "largest one within. 0 for batch_size / small_batch_size.",
           AtLeast(0))
      .Add("min_gain", &Options::min_gain,
           "Smallest factor within the autoencoder's directions.", AtLeast(0))
      .Add("curvature_scale", &Options::curvature_scale,
           "Curvature that is assumed along a direction, over the mean square "
           "of an example's gradient along it.",
           AtLeast(0))
      .Add("clip_norm", &Options::clip_norm,
           "Largest L2 norm of the mapped gradient, in the teacher's "
           "coordinates; 0 for none. -1 chooses 4 with raw coordinates, which "
           "diverge without, and none with Adam's.",
           AtLeast(-1))
      .Add("beta1", &Options::beta1,
           "Decay of the running mean of updates, with coordinates = "
           "\"adam\"; 0 for no mean.",
           InHalfOpen(0, 1))
      .Add("beta2", &Options::beta2,
           "Decay of the running mean of squared gradients, with coordinates = "
           "\"adam\".",
           InHalfOpen(0, 1))
      .Add("eps", &Options::eps, "Added to the root of that mean.",
           GreaterThan(0))
      .Check([](const Options& options) -> absl::Status {
        if (options.bulk_gain > 0 && options.bulk_gain < options.min_gain) {
          return ConfigError(absl::StrCat(
              "min_gain = ", options.min_gain, " is above bulk_gain = ",
              options.bulk_gain, ", the largest gain"));
        }
        if (options.clip_norm < 0 && options.clip_norm != -1) {
          return ConfigError(absl::StrCat("clip_norm = ", options.clip_norm,
                                          " is neither a norm, nor 0, nor -1"));
        }
        return absl::OkStatus();
      });
}

absl::StatusOr<std::unique_ptr<SubspaceAutoencoder>>
SubspaceAutoencoder::Create(const Options& options,
                            const ComponentContext& /*context*/) {
  return std::unique_ptr<SubspaceAutoencoder>(new SubspaceAutoencoder(options));
}

double SubspaceAutoencoder::ClipNorm(const TeacherStep& step) const {
  if (step.scaling == TeacherScaling::kMse) {
    return 0;
  }
  if (gates_.has_value()) {
    return gates_->clip_norm;
  }
  if (options_.clip_norm >= 0) {
    return options_.clip_norm;
  }
  return UsesAdam() ? 0 : kDefaultClipNorm;
}

double SubspaceAutoencoder::BulkGain(const TeacherStep& step) const {
  if (gates_.has_value()) {
    return step.scaling == TeacherScaling::kMse ? gates_->mse_bulk_gain
                                                : gates_->bulk_gain;
  }
  return options_.bulk_gain > 0 ? options_.bulk_gain : step.small_steps;
}

int64_t SubspaceAutoencoder::StateBytes(const TensorLayout& layout) const {
  if (layout.empty()) {
    return 0;
  }
  const at::ScalarType dtype = layout.front().dtype;
  int64_t bytes = 0;
  int64_t directions = 0;
  int64_t num_blocks = 0;
  for (const ParameterBlock& block :
       DivideIntoBlocks(ShapesOf(layout), options_.basis)) {
    directions += std::min(options_.rank, block.numel);
    ++num_blocks;
    bytes += GradientSubspace::StateBytes(options_.rank, block.numel, dtype,
                                          options_.basis_precision);
  }
  if (CanFit()) {
    bytes += PairCodes::MostBytes(directions, num_blocks);
  }
  if (UsesAdam()) {
    bytes += (options_.beta1 > 0 ? 2 : 1) * NumBytes(layout);
  }
  return bytes;
}

absl::Status SubspaceAutoencoder::Prepare(const TensorLayout& layout) {
  int64_t numel = 0;
  for (const TensorSpec& spec : layout) {
    numel += spec.numel();
  }
  if (options_.rank > numel) {
    return ConfigError(absl::StrCat("rank = ", options_.rank,
                                    " is more than the model's ", numel,
                                    " parameters"));
  }
  layout_ = layout;
  blocks_.clear();
  for (const ParameterBlock& block :
       DivideIntoBlocks(ShapesOf(layout), options_.basis)) {
    const at::ScalarType dtype = layout[block.first].dtype;
    blocks_.push_back(
        {block,
         GradientSubspace(options_.rank, options_.forgetting, block.numel,
                          dtype, options_.basis_precision),
         UsesAdam() ? at::zeros({block.numel}, dtype) : at::Tensor(),
         UsesAdam() && options_.beta1 > 0 ? at::zeros({block.numel}, dtype)
                                          : at::Tensor()});
  }
  return absl::OkStatus();
}

at::Tensor SubspaceAutoencoder::ScaleOf(const at::Tensor& square_mean,
                                        int64_t count) const {
  const double bias = 1 - std::pow(options_.beta2, static_cast<double>(count));
  return square_mean.div(bias).sqrt_().add_(options_.eps).rsqrt_();
}

SubspaceAutoencoder::BlockImage SubspaceAutoencoder::Encode(
    const Block& block, const TeacherStep& step,
    const TensorList& gradient) const {
  BlockImage image;
  image.vector = at::empty({block.parameters.numel},
                           gradient.front().options().requires_grad(false));
  Gather(block.parameters, gradient, image.vector);
  if (UsesAdam()) {
    image.square_mean =
        block.square_mean.mul(options_.beta2)
            .addcmul_(image.vector, image.vector, 1 - options_.beta2);
    image.scale = ScaleOf(image.square_mean, num_maps_ + 1);
    image.vector.mul_(image.scale);
  }
  image.energy = SquaredNorm({image.vector});
  image.bulk_gain = BulkGain(step);
  const GradientSubspace& subspace = block.subspace;
  if (options_.rank > 0 && subspace.rank() == 0) {
    image.bulk_gain = 1;  // nothing is known of this gradient
    return image;
  }
  image.code = subspace.Encode(image.vector);
  const double curvature = (gates_.has_value() ? gates_->curvature_scale
                                               : options_.curvature_scale) *
                           step.context.lr * group_examples_;
  // Squared error has no use for a bound by the bulk's gain.
  const double most =
      step.scaling == TeacherScaling::kMse ? step.small_steps : image.bulk_gain;
  for (const double s : subspace.singular_values()) {
    const double gain = DisplacementGain(curvature * s * s, step.small_steps);
    image.code_gain.push_back(
        std::clamp(gain, std::min(options_.min_gain, most), most));
  }
  return image;
}

void SubspaceAutoencoder::Decode(const Block& block, double shrink,
                                 BlockImage& image) const {
  // a (g - V^T c) + V^T (f .* c) = a g + V^T ((f - a) .* c).
  if (shrink * image.bulk_gain != 1) {
    image.vector.mul_(shrink * image.bulk_gain);
  }
  std::vector<double> correction = image.code;
  for (size_t j = 0; j < correction.size(); ++j) {
    correction[j] *= shrink * (image.code_gain[j] - image.bulk_gain);
  }
  block.subspace.AddDecoded(correction, image.vector);
}

void SubspaceAutoencoder::ToUpdate(bool may_learn, BlockImage& image,
                                   Block& block) const {
  if (!UsesAdam()) {
    return;
  }
  at::Tensor& update = image.vector;
  update.mul_(image.scale);
  if (!may_learn) {
    return;
  }
  block.square_mean = image.square_mean;
  if (options_.beta1 > 0) {
    block.update_mean.mul_(options_.beta1).add_(update, 1 - options_.beta1);
    const double bias =
        1 - std::pow(options_.beta1, static_cast<double>(num_maps_ + 1));
    update.copy_(block.update_mean).div_(bias);
  }
}

absl::Status SubspaceAutoencoder::DoMap(const TeacherStep& step,
                                        TensorList& gradient) {
  const at::NoGradGuard no_grad;
  FEDLB_RETURN_IF_ERROR(CheckLayout(layout_, gradient));
  std::vector<BlockImage> images;
  double energy = 0;        // |g|^2
  double code_energy = 0;   // |V g|^2
  double product = 0;       // g . T(g) before clipping
  double image_energy = 0;  // |T(g)|^2, likewise
  double bulk_energy = 0;   // |g - V^T V g|^2
  double bulk_product = 0;  // the bulk's part of product
  for (const Block& block : blocks_) {
    images.push_back(Encode(block, step, gradient));
    const BlockImage& image = images.back();
    const double in_code = SumOfSquares(image.code);
    const double outside = std::max(0.0, image.energy - in_code);
    energy += image.energy;
    code_energy += in_code;
    bulk_energy += outside;
    bulk_product += image.bulk_gain * outside;
    product += image.bulk_gain * outside;
    image_energy += image.bulk_gain * image.bulk_gain * outside;
    for (size_t j = 0; j < image.code.size(); ++j) {
      const double square = image.code[j] * image.code[j];
      product += image.code_gain[j] * square;
      image_energy += image.code_gain[j] * image.code_gain[j] * square;
    }
  }
  const double clip = ClipNorm(step);
  const double norm = std::sqrt(image_energy);
  const double shrink = clip > 0 && norm > clip ? clip / norm : 1;

  for (size_t b = 0; b < blocks_.size(); ++b) {
    Decode(blocks_[b], shrink, images[b]);
    ToUpdate(step.context.may_learn, images[b], blocks_[b]);
    Scatter(blocks_[b].parameters, images[b].vector, gradient);
  }
  if (step.context.may_learn) {
    ++num_maps_;
  }
  const double code_product = product - bulk_product;
  report_ = {
      {"gain", bulk_energy > 0 ? shrink * bulk_product / bulk_energy : shrink},
      {"code_gain",
       code_energy > 0 ? shrink * code_product / code_energy : shrink},
      {"code_energy", energy > 0 ? code_energy / energy : 0},
      {"cosine",
       image_energy > 0 ? product / std::sqrt(energy * image_energy) : 1},
      {"norm_ratio", energy > 0 ? std::sqrt(image_energy / energy) : 1},
      {"clip_factor", shrink}};
  return absl::OkStatus();
}

absl::Status SubspaceAutoencoder::DoObserve(const TeacherStep& step) {
  const at::NoGradGuard no_grad;
  const std::vector<TensorList>& means = step.context.partial_means;
  for (const TensorList& mean : means) {
    FEDLB_RETURN_IF_ERROR(CheckLayout(layout_, mean));
    if (!std::isfinite(SquaredNorm(mean))) {
      return absl::InvalidArgumentError(
          "a partial mean with values that are not finite");
    }
  }
  if (options_.rank == 0 || num_observed_++ % options_.update_every != 0) {
    return absl::OkStatus();
  }
  const auto count = static_cast<int64_t>(means.size());
  for (Block& block : blocks_) {
    at::Tensor gradients =
        at::empty({count, block.parameters.numel},
                  means.front().front().options().requires_grad(false));
    for (int64_t i = 0; i < count; ++i) {
      Gather(block.parameters, means[static_cast<size_t>(i)], gradients[i]);
    }
    if (UsesAdam()) {
      gradients.mul_(ScaleOf(block.square_mean, num_maps_));
    }
    block.subspace.Update(gradients);
  }
  group_examples_ =
      static_cast<double>(step.context.batch_size) / static_cast<double>(count);
  return absl::OkStatus();
}

absl::Status SubspaceAutoencoder::AddPair(const TeacherStep& step,
                                          const DisplacementPair& pair) {
  const at::NoGradGuard no_grad;
  FEDLB_RETURN_IF_ERROR(CheckLayout(layout_, pair.gradient));
  FEDLB_RETURN_IF_ERROR(CheckLayout(layout_, pair.displacement));
  if (!std::isfinite(SquaredNorm(pair.gradient)) ||
      !std::isfinite(SquaredNorm(pair.displacement))) {
    return absl::InvalidArgumentError("a pair with values that are not finite");
  }
  if (blocks_.empty() || blocks_.front().subspace.rank() == 0) {
    return absl::OkStatus();  // there is no code yet
  }
  CodedPair coded;
  coded.small_steps = step.small_steps;
  for (const Block& block : blocks_) {
    const auto gather = [&block](const TensorList& tensors) {
      at::Tensor flat =
          at::empty({block.parameters.numel},
                    tensors.front().options().requires_grad(false));
      Gather(block.parameters, tensors, flat);
      return flat;
    };
    const at::Tensor gradient = gather(pair.gradient);
    const at::Tensor displacement = gather(pair.displacement);
    BlockCodes codes;
    for (const double s : block.subspace.singular_values()) {
      codes.z.push_back(step.context.lr * group_examples_ * s * s);
    }
    codes.gradient = block.subspace.Encode(gradient);
    codes.displacement = block.subspace.Encode(displacement);
    codes.gradient_energy = SquaredNorm({gradient});
    codes.displacement_energy = SquaredNorm({displacement});
    codes.product = gradient.to(at::kDouble)
                        .dot(displacement.to(at::kDouble))
                        .item<double>();
    coded.blocks.push_back(std::move(codes));
  }
  pairs_.Add(std::move(coded));
  return absl::OkStatus();
}

absl::Status SubspaceAutoencoder::Fit() {
  if (std::optional<FittedGates> gates = FitGates(pairs_, options_.min_gain)) {
    gates_ = gates;
  }
  return absl::OkStatus();
}

ScalarMap SubspaceAutoencoder::FitReport() const {
  ScalarMap report;
  if (gates_.has_value()) {
    report = {{"curvature_scale", gates_->curvature_scale},
              {"bulk_gain", gates_->bulk_gain},
              {"mse_bulk_gain", gates_->mse_bulk_gain},
              {"clip_norm", gates_->clip_norm}};
  }
  if (pairs_.pairs().empty()) {
    return report;
  }
  // The share of the code of `block`, or of all for blocks_.size().
  const auto share = [this](size_t which, bool of_gradient) {
    std::vector<double> shares;
    for (const CodedPair& pair : pairs_.pairs()) {
      double in_code = 0;
      double energy = 0;
      for (size_t b = 0; b < pair.blocks.size(); ++b) {
        if (which == b || which == blocks_.size()) {
          const BlockCodes& codes = pair.blocks[b];
          in_code +=
              SumOfSquares(of_gradient ? codes.gradient : codes.displacement);
          energy +=
              of_gradient ? codes.gradient_energy : codes.displacement_energy;
        }
      }
      shares.push_back(energy > 0 ? in_code / energy : 0);
    }
    return Median(shares);
  };
  report["gradient_code_energy"] = share(blocks_.size(), true);
  report["displacement_code_energy"] = share(blocks_.size(), false);
  if (blocks_.size() > 1) {
    for (size_t b = 0; b < blocks_.size(); ++b) {
      const std::string& name = layout_[blocks_[b].parameters.first].name;
      report[absl::StrCat("gradient_code_energy.", name)] = share(b, true);
      report[absl::StrCat("displacement_code_energy.", name)] = share(b, false);
    }
  }
  return report;
}

ComponentState SubspaceAutoencoder::SaveState() const {
  ComponentState state;
  for (const Block& block : blocks_) {
    if (options_.rank > 0) {
      state.tensors[kBasis].push_back(block.subspace.basis());
      state.tensors[kSingularValues].push_back(
          ToTensor(block.subspace.singular_values()));
    }
    if (UsesAdam()) {
      state.tensors[kSquareMean].push_back(block.square_mean);
      if (options_.beta1 > 0) {
        state.tensors[kUpdateMean].push_back(block.update_mean);
      }
    }
  }
  state.scalars[kNumMaps] = static_cast<double>(num_maps_);
  state.scalars[kNumObserved] = static_cast<double>(num_observed_);
  state.scalars[kNumUpdates] =
      blocks_.empty()
          ? 0
          : static_cast<double>(blocks_.front().subspace.num_updates());
  state.scalars[kGroupExamples] = group_examples_;
  if (!pairs_.pairs().empty()) {
    state.tensors[kPairs] = pairs_.Save();
  }
  if (gates_.has_value()) {
    state.scalars[kFittedCurvatureScale] = gates_->curvature_scale;
    state.scalars[kFittedBulkGain] = gates_->bulk_gain;
    state.scalars[kFittedMseBulkGain] = gates_->mse_bulk_gain;
    state.scalars[kFittedClipNorm] = gates_->clip_norm;
  }
  return state;
}

absl::Status SubspaceAutoencoder::CheckState(
    const ComponentState& state) const {
  std::vector<std::string> groups;
  if (options_.rank > 0 && !blocks_.empty()) {
    groups.insert(groups.end(), {kBasis, kSingularValues});
  }
  if (UsesAdam() && !blocks_.empty()) {
    groups.emplace_back(kSquareMean);
    if (options_.beta1 > 0) {
      groups.emplace_back(kUpdateMean);
    }
  }
  std::vector<std::string> scalars = {kNumMaps, kNumObserved, kNumUpdates,
                                      kGroupExamples};
  if (state.scalars.contains(kFittedBulkGain)) {
    scalars.insert(scalars.end(), {kFittedCurvatureScale, kFittedBulkGain,
                                   kFittedMseBulkGain, kFittedClipNorm});
  }
  const size_t num_pair_groups = state.tensors.contains(kPairs) ? 1 : 0;
  if (state.tensors.size() != groups.size() + num_pair_groups ||
      state.scalars.size() != scalars.size()) {
    return absl::InvalidArgumentError(
        "the teacher's state has other parts than these options make");
  }
  for (const std::string& name : groups) {
    const auto found = state.tensors.find(name);
    if (found == state.tensors.end() ||
        found->second.size() != blocks_.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the teacher's state lacks ", name,
                       " of some of the model's ", blocks_.size(), " layers"));
    }
  }
  for (const std::string& name : scalars) {
    const auto found = state.scalars.find(name);
    if (found == state.scalars.end() || !(found->second >= 0) ||
        found->second > 1e15) {
      return absl::InvalidArgumentError(
          absl::StrCat("the teacher's state has no valid ", name));
    }
  }
  for (const std::string& name : groups) {
    const TensorList& tensors = state.tensors.at(name);
    for (size_t b = 0; b < blocks_.size(); ++b) {
      const int64_t numel = blocks_[b].parameters.numel;
      const at::Tensor& tensor = tensors[b];
      bool fits = false;
      if (name == kBasis) {
        fits = tensor.dim() == 2 && tensor.size(1) == numel &&
               tensor.size(0) <= std::min(options_.rank, numel);
      } else if (name == kSingularValues) {
        const at::Tensor& basis = state.tensors.at(kBasis)[b];
        fits = tensor.dim() == 1 && tensor.scalar_type() == at::kDouble &&
               basis.dim() == 2 && basis.size(0) == tensor.size(0);
      } else {
        fits = tensor.dim() == 1 && tensor.size(0) == numel;
      }
      if (!fits) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the teacher's state does not fit the model: ", name, " of layer ",
            b, ", which has ", numel, " parameters"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status SubspaceAutoencoder::LoadState(const ComponentState& state) {
  FEDLB_RETURN_IF_ERROR(CheckState(state));
  const auto pairs = state.tensors.find(kPairs);
  FEDLB_RETURN_IF_ERROR(
      pairs_.Load(pairs == state.tensors.end() ? TensorList() : pairs->second,
                  blocks_.size()));
  gates_.reset();
  if (state.scalars.contains(kFittedBulkGain)) {
    gates_ = {.curvature_scale = state.scalars.at(kFittedCurvatureScale),
              .bulk_gain = state.scalars.at(kFittedBulkGain),
              .mse_bulk_gain = state.scalars.at(kFittedMseBulkGain),
              .clip_norm = state.scalars.at(kFittedClipNorm)};
  }
  const auto num_updates = static_cast<int64_t>(state.scalars.at(kNumUpdates));
  for (size_t b = 0; b < blocks_.size(); ++b) {
    Block& block = blocks_[b];
    if (options_.rank > 0) {
      block.subspace.Restore(state.tensors.at(kBasis)[b],
                             ToVector(state.tensors.at(kSingularValues)[b]),
                             num_updates);
    }
    if (UsesAdam()) {
      block.square_mean.copy_(state.tensors.at(kSquareMean)[b]);
      if (options_.beta1 > 0) {
        block.update_mean.copy_(state.tensors.at(kUpdateMean)[b]);
      }
    }
  }
  num_maps_ = static_cast<int64_t>(state.scalars.at(kNumMaps));
  num_observed_ = static_cast<int64_t>(state.scalars.at(kNumObserved));
  group_examples_ = state.scalars.at(kGroupExamples);
  return absl::OkStatus();
}

}  // namespace fedlb::teacher
