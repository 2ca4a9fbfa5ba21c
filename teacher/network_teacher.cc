#include "network_teacher.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include "absl/strings/str_cat.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "pair_codes.h"

namespace fedlb::teacher {
namespace {

constexpr size_t kFewestPairs = 3;
constexpr size_t kMostPairs = PairCodes::kMostPairs;
// Pairs in one step of a fit.
constexpr int kPairsPerStep = 4;
// Features farther from those that the network was fitted to are cut off.
constexpr double kFarthestFeature = 3;
// What hardly varied among the first pairs says nothing.
constexpr double kSmallestDeviation = 0.3;
constexpr double kSmallestRms = 1e-12;
constexpr double kAdamBeta1 = 0.9;
constexpr double kAdamBeta2 = 0.999;
constexpr double kAdamEps = 1e-8;

// Names in the state.
constexpr char kNetwork[] = "network";
constexpr char kFeatures[] = "features";
constexpr char kPairs[] = "pairs";
constexpr char kPairNorms[] = "pair_norms";
constexpr char kNumFits[] = "num_fits";
constexpr char kConstantGain[] = "constant_gain";
constexpr char kCosine[] = "cosine";
constexpr char kLoss[] = "loss";
constexpr char kClipNorm[] = "clip_norm";

at::Tensor LogRms(const at::Tensor& squares, const at::Tensor& counts) {
  return squares.div(counts).sqrt_().clamp_min_(kSmallestRms).log_();
}

}  // namespace

void NetworkTeacher::Network::Add(const char* name, std::vector<int64_t> sizes,
                                  double deviation) {
  parameters.push_back({name, std::move(sizes), at::kFloat});
  deviations.push_back(deviation);
}

at::Tensor NetworkTeacher::BoundedGain(const at::Tensor& log_gain) {
  const double most = std::log(kMostGainFactor);
  return log_gain.div(most).tanh().mul(most).exp();
}

int64_t NetworkTeacher::StateBytes(const TensorLayout& layout) const {
  const Network network = Describe(layout);
  const auto of_pair =
      static_cast<int64_t>(NumBytes(network.example) +
                           network.example_pieces * kNumFeatures *
                               static_cast<int64_t>(sizeof(float)) +
                           static_cast<int64_t>(sizeof(double)));
  return NumBytes(network.parameters) +
         2 * kNumFeatures * static_cast<int64_t>(sizeof(float)) +
         static_cast<int64_t>(kMostPairs) * of_pair;
}

absl::Status NetworkTeacher::Prepare(const TensorLayout& layout) {
  layout_ = layout;
  const Network network = Describe(layout);
  network_layout_ = network.parameters;
  grid_ = PieceGrid(layout, network.piece_size);
  pair_layout_ = {
      {"features", {network.example_pieces, kNumFeatures}, at::kFloat}};
  pair_layout_.insert(pair_layout_.end(), network.example.begin(),
                      network.example.end());

  counts_ = grid_.Counts();
  const std::vector<int64_t> tensor_of_piece = grid_.TensorOfPiece();
  piece_features_ = at::empty({num_pieces(), 3}, at::kFloat);
  auto features = piece_features_.accessor<float, 2>();
  for (int64_t i = 0; i < num_pieces(); ++i) {
    const int64_t tensor = tensor_of_piece[static_cast<size_t>(i)];
    const TensorSpec& spec = layout[static_cast<size_t>(tensor)];
    features[i][0] = std::log(counts_[i].item<float>());
    features[i][1] = spec.sizes.size() < 2 ? 1 : 0;
    features[i][2] =
        static_cast<float>(tensor) / static_cast<float>(layout.size());
  }

  network_.clear();
  for (size_t i = 0; i < network.parameters.size(); ++i) {
    const TensorSpec& spec = network.parameters[i];
    at::Tensor values = at::zeros(spec.sizes, at::kFloat);
    if (network.deviations[i] > 0) {
      RandomStream random({.seed = seed_,
                           .purpose = "teacher_init",
                           .step = static_cast<int64_t>(i)});
      float* const data = values.mutable_data_ptr<float>();
      for (int64_t k = 0; k < values.numel(); ++k) {
        data[k] = static_cast<float>(network.deviations[i] * random.Normal());
      }
    }
    network_.push_back(values.requires_grad_(true));
  }
  return absl::OkStatus();
}

at::Tensor NetworkTeacher::FeaturesOf(const TeacherStep& step,
                                      const at::Tensor& rows) const {
  const at::Tensor squares = rows.square().sum(1);
  const at::Tensor log_rms = LogRms(squares, counts_);
  const double log_all_rms =
      LogRms(squares.sum(), counts_.sum()).item<double>();
  const StepContext& context = step.context;
  const at::Tensor of_step = ToTensor(
      {log_all_rms, std::log(std::max(context.lr, kSmallestRms)),
       std::log(step.small_steps),
       std::isfinite(context.gradient_change) ? context.gradient_change : 0.0,
       context.critical ? 1.0 : 0.0});
  return at::cat(
      {log_rms.unsqueeze(1), log_rms.sub(log_all_rms).unsqueeze(1),
       piece_features_, of_step.to(at::kFloat).expand({num_pieces(), -1})},
      1);
}

at::Tensor NetworkTeacher::Standardised(const at::Tensor& features) const {
  return features.sub(feature_mean_)
      .div_(feature_scale_)
      .clamp_(-kFarthestFeature, kFarthestFeature);
}

absl::Status NetworkTeacher::DoMap(const TeacherStep& step,
                                   TensorList& gradient) {
  const at::NoGradGuard no_grad;
  FEDLB_RETURN_IF_ERROR(CheckLayout(layout_, gradient));
  report_ = {{"gain", 1}, {"cosine", 1}, {"norm_ratio", 1}, {"clip_factor", 1}};
  const double energy = SquaredNorm(gradient);
  if (!fitted() || !(energy > 0) || !std::isfinite(energy)) {
    return absl::OkStatus();
  }
  const at::Tensor raw = grid_.Gather(gradient);
  at::Tensor rows = raw.clone();
  Apply(Standardised(FeaturesOf(step, raw)), rows);
  grid_.ClearPadding(rows);
  const bool norm_match = step.scaling == TeacherScaling::kNormMatch;
  const double factor = step.small_steps * constant_gain_ /
                        (norm_match ? std::max(cosine_, kLowestCosine) : 1);
  const double product = factor * rows.mul(raw).sum(at::kDouble).item<double>();
  const double image_energy = factor * factor * SquaredNorm({rows});
  const double norm = std::sqrt(image_energy);
  const double clip = !norm_match               ? 0
                      : options_.clip_norm >= 0 ? options_.clip_norm
                                                : clip_norm_;
  const double shrink = clip > 0 && norm > clip ? clip / norm : 1;
  rows.mul_(factor * shrink);
  grid_.Scatter(rows, gradient);
  report_["gain"] = shrink * product / energy;
  report_["cosine"] =
      image_energy > 0 ? product / std::sqrt(energy * image_energy) : 1;
  report_["norm_ratio"] = std::sqrt(image_energy / energy);
  report_["clip_factor"] = shrink;
  return absl::OkStatus();
}

absl::Status NetworkTeacher::DoObserve(const TeacherStep& /*step*/) {
  return absl::OkStatus();
}

absl::Status NetworkTeacher::AddPair(const TeacherStep& step,
                                     const DisplacementPair& pair) {
  const at::NoGradGuard no_grad;
  FEDLB_RETURN_IF_ERROR(CheckLayout(layout_, pair.gradient));
  FEDLB_RETURN_IF_ERROR(CheckLayout(layout_, pair.displacement));
  const double norm = std::sqrt(SquaredNorm(pair.displacement));
  if (!std::isfinite(SquaredNorm(pair.gradient)) || !std::isfinite(norm)) {
    return absl::InvalidArgumentError("a pair with values that are not finite");
  }
  if (norm == 0) {
    return absl::OkStatus();  // nothing to predict
  }
  const at::Tensor gradient = grid_.Gather(pair.gradient);
  const at::Tensor displacement = grid_.Gather(pair.displacement);
  at::Tensor features = FeaturesOf(step, gradient);
  TensorList example = MakeExample(gradient.mul(step.small_steps / norm),
                                   displacement.div(norm), features);
  example.insert(example.begin(), features);
  FEDLB_RETURN_IF_ERROR(CheckLayout(pair_layout_, example));
  pairs_.push_back({std::move(example), norm});
  if (pairs_.size() > kMostPairs) {
    pairs_.pop_front();
  }
  return absl::OkStatus();
}

at::Tensor NetworkTeacher::MomentsOf(const Pair& pair) const {
  const TensorList example(pair.tensors.begin() + 1, pair.tensors.end());
  const at::Tensor scale =
      ToTensor({constant_gain_ * constant_gain_, constant_gain_});
  return Moments(Standardised(pair.tensors.front()), example)
      .mul(scale.to(at::kFloat));
}

// The features' scale and the constant gain, which stay from here on: the
// network is fitted on top of them.
void NetworkTeacher::BeginFitting() {
  std::vector<at::Tensor> features;
  for (const Pair& pair : pairs_) {
    features.push_back(pair.tensors.front());
  }
  const at::Tensor all = at::cat(features, 0);
  feature_mean_ = all.mean(0);
  feature_scale_ = all.sub(feature_mean_)
                       .square_()
                       .mean(0)
                       .sqrt_()
                       .clamp_min_(kSmallestDeviation);
  // The network has no effect yet.
  constant_gain_ = 1;
  double square = 0;
  double product = 0;
  for (const Pair& pair : pairs_) {
    const at::Tensor moments = MomentsOf(pair);
    square += moments[0].item<double>();
    product += moments[1].item<double>();
  }
  constant_gain_ = square > 0 && product > 0 ? product / square : 1;
}

void NetworkTeacher::Descend() {
  const at::AutoGradMode with_gradients(true);
  RandomStream random(
      {.seed = seed_, .purpose = "teacher_fit", .step = num_fits_});
  TensorList mean = ZerosLike(network_);
  TensorList square_mean = ZerosLike(network_);
  for (int64_t t = 1; t <= options_.fit_steps; ++t) {
    at::Tensor loss = at::ones({}, at::kFloat);
    for (int i = 0; i < kPairsPerStep; ++i) {
      // |T - D|^2 / |D|^2 is 1 and this.
      const at::Tensor moments = MomentsOf(pairs_[random.Below(pairs_.size())]);
      loss = loss.add(moments[0].sub(moments[1], 2).div(kPairsPerStep));
    }
    const auto gradients = torch::autograd::grad({loss}, network_);
    const at::NoGradGuard no_grad;
    const double rate = options_.fit_lr *
                        (1 - static_cast<double>(t - 1) /
                                 static_cast<double>(options_.fit_steps)) *
                        std::sqrt(1 - std::pow(kAdamBeta2, t)) /
                        (1 - std::pow(kAdamBeta1, t));
    for (size_t p = 0; p < network_.size(); ++p) {
      mean[p].mul_(kAdamBeta1).add_(gradients[p], 1 - kAdamBeta1);
      square_mean[p]
          .mul_(kAdamBeta2)
          .addcmul_(gradients[p], gradients[p], 1 - kAdamBeta2);
      network_[p].addcdiv_(mean[p], square_mean[p].sqrt().add_(kAdamEps),
                           -rate);
    }
  }
}

absl::Status NetworkTeacher::Fit() {
  if (pairs_.size() < kFewestPairs) {
    return absl::OkStatus();
  }
  const at::NoGradGuard no_grad;
  if (!fitted()) {
    BeginFitting();
  }
  const TensorList before = Clone(network_);
  Descend();
  if (!std::isfinite(SquaredNorm(network_))) {
    Copy(before, network_);
  }
  ++num_fits_;

  std::vector<double> losses;
  std::vector<double> cosines;
  std::vector<double> norms;
  for (const Pair& pair : pairs_) {
    const std::vector<double> moments =
        ToVector(MomentsOf(pair).to(at::kDouble));
    losses.push_back(1 + moments[0] - 2 * moments[1]);
    cosines.push_back(moments[0] > 0 ? moments[1] / std::sqrt(moments[0]) : 0);
    norms.push_back(pair.displacement_norm);
  }
  loss_ = std::max(0.0, Median(losses));
  cosine_ = std::max(0.0, Median(cosines));
  clip_norm_ = ClipNormOf(norms);
  return absl::OkStatus();
}

ScalarMap NetworkTeacher::FitReport() const {
  if (!fitted()) {
    return {};
  }
  return {{"loss", loss_},
          {"cosine", cosine_},
          {"constant_gain", constant_gain_},
          {"clip_norm", clip_norm_},
          {"parameters", static_cast<double>(NumElements(network_))}};
}

ComponentState NetworkTeacher::SaveState() const {
  ComponentState state;
  state.tensors[kNetwork] = Detach(network_);
  if (fitted()) {
    state.tensors[kFeatures] = {feature_mean_, feature_scale_};
  }
  std::vector<double> norms;
  for (const Pair& pair : pairs_) {
    TensorList& kept = state.tensors[kPairs];
    kept.insert(kept.end(), pair.tensors.begin(), pair.tensors.end());
    norms.push_back(pair.displacement_norm);
  }
  if (!pairs_.empty()) {
    state.tensors[kPairNorms] = {ToTensor(norms)};
  }
  state.scalars = {{kNumFits, static_cast<double>(num_fits_)},
                   {kConstantGain, constant_gain_},
                   {kCosine, cosine_},
                   {kLoss, loss_},
                   {kClipNorm, clip_norm_}};
  return state;
}

absl::Status NetworkTeacher::LoadState(const ComponentState& state) {
  const auto find = [&state](const char* name) -> TensorList {
    const auto found = state.tensors.find(name);
    return found == state.tensors.end() ? TensorList() : found->second;
  };
  for (const char* name :
       {kNumFits, kConstantGain, kCosine, kLoss, kClipNorm}) {
    const auto found = state.scalars.find(name);
    if (found == state.scalars.end() || !std::isfinite(found->second) ||
        found->second < 0 || found->second > 1e15) {
      return absl::InvalidArgumentError(
          absl::StrCat("the teacher's state has no valid ", name));
    }
  }
  const auto num_fits = static_cast<int64_t>(state.scalars.at(kNumFits));
  TensorLayout feature_layout;
  if (num_fits > 0) {
    feature_layout = {{"mean", {kNumFeatures}}, {"scale", {kNumFeatures}}};
  }
  const TensorList network = find(kNetwork);
  const TensorList features = find(kFeatures);
  FEDLB_RETURN_IF_ERROR(
      Annotate(CheckLayout(network_layout_, network), "teacher's network"));
  FEDLB_RETURN_IF_ERROR(
      Annotate(CheckLayout(feature_layout, features), "teacher's features"));
  const TensorList kept = find(kPairs);
  const TensorList norms = find(kPairNorms);
  const size_t num_pairs =
      norms.empty() ? 0 : static_cast<size_t>(norms.front().numel());
  if (num_pairs > kMostPairs ||
      kept.size() != num_pairs * pair_layout_.size() ||
      (num_pairs > 0 && (norms.front().dim() != 1 ||
                         norms.front().scalar_type() != at::kDouble))) {
    return absl::InvalidArgumentError("the teacher's state has damaged pairs");
  }
  std::deque<Pair> pairs;
  for (size_t i = 0; i < num_pairs; ++i) {
    const auto begin =
        kept.begin() + static_cast<ptrdiff_t>(i * pair_layout_.size());
    Pair pair = {
        TensorList(begin, begin + static_cast<ptrdiff_t>(pair_layout_.size())),
        norms.front()[static_cast<int64_t>(i)].item<double>()};
    FEDLB_RETURN_IF_ERROR(
        Annotate(CheckLayout(pair_layout_, pair.tensors), "teacher's pairs"));
    pair.tensors = Clone(pair.tensors);
    pairs.push_back(std::move(pair));
  }
  Copy(network, network_);
  if (num_fits > 0) {
    feature_mean_ = features[0].clone();
    feature_scale_ = features[1].clone();
  }
  pairs_ = std::move(pairs);
  num_fits_ = num_fits;
  constant_gain_ = state.scalars.at(kConstantGain);
  cosine_ = state.scalars.at(kCosine);
  loss_ = state.scalars.at(kLoss);
  clip_norm_ = state.scalars.at(kClipNorm);
  return absl::OkStatus();
}

}  // namespace fedlb::teacher
