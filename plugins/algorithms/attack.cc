#include "algorithms/attack.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "absl/strings/str_cat.h"
#include "algorithms/client_memory.h"
#include "fedlb/random.h"
#include "fedlb/status.h"

namespace fedlb::algorithms {
namespace {

constexpr char kSeenWeights[] = "seen_weights";
constexpr char kSeenRound[] = "seen_round";

}  // namespace

ParamSchema<AttackOptions> Attack::Schema() {
  return ParamSchema<Options>()
      .AddChoice("kind", &Options::kind,
                 {{"sign_flip", AttackKind::kSignFlip},
                  {"scale", AttackKind::kScale},
                  {"gaussian", AttackKind::kGaussian},
                  {"not_a_number", AttackKind::kNotANumber},
                  {"label_flip", AttackKind::kLabelFlip},
                  {"little_is_enough", AttackKind::kLittleIsEnough}},
                 "What hostile clients do.")
      .Add("clients", &Options::clients, "The hostile clients.")
      .Add("factor", &Options::factor, "Of sign_flip and scale.",
           GreaterThan(0))
      .Add("sigma", &Options::sigma, "Of gaussian: the standard deviation.",
           GreaterThan(0))
      .Add("z", &Options::z, "Of little_is_enough: deviations from the mean.",
           GreaterThan(0));
}

absl::StatusOr<std::unique_ptr<Attack>> Attack::Create(
    const Options& options, const ComponentContext& context) {
  for (const int64_t client : options.clients) {
    if (client < 0 || client >= context.num_clients) {
      return ConfigError(
          absl::StrCat("attack: client ", client, " of ", context.num_clients));
    }
  }
  return std::unique_ptr<Attack>(new Attack(options, context.seed));
}

bool Attack::IsHostile(int64_t client) const {
  return std::find(options_.clients.begin(), options_.clients.end(), client) !=
         options_.clients.end();
}

absl::Status Attack::AdjustTargets(int64_t client, int64_t num_classes,
                                   at::Tensor& targets) const {
  if (options_.kind == AttackKind::kLabelFlip && IsHostile(client)) {
    targets = targets.neg().add_(num_classes - 1);
  }
  return absl::OkStatus();
}

absl::Status Attack::AddToUpdate(const RoundTask& task,
                                 const TensorList& /*weights*/, Update& update,
                                 ClientState& state) const {
  if (!IsHostile(update.client)) {
    return absl::OkStatus();
  }
  TensorList& parameters = update.parameters();
  switch (options_.kind) {
    case AttackKind::kSignFlip:
      Scale(-options_.factor, parameters);
      return absl::OkStatus();
    case AttackKind::kScale:
      Scale(options_.factor, parameters);
      return absl::OkStatus();
    case AttackKind::kNotANumber:
      Scale(std::numeric_limits<double>::quiet_NaN(), parameters);
      return absl::OkStatus();
    case AttackKind::kGaussian: {
      RandomStream random({seed_, "attack", task.round, update.client});
      for (at::Tensor& tensor : parameters) {
        std::vector<double> values(static_cast<size_t>(tensor.numel()));
        std::generate(values.begin(), values.end(),
                      [&] { return options_.sigma * random.Normal(); });
        tensor.copy_(ToTensor(values).reshape(tensor.sizes()));
      }
      return absl::OkStatus();
    }
    case AttackKind::kLabelFlip:
      return absl::OkStatus();
    case AttackKind::kLittleIsEnough:
      return SendLittle(task, update, state);
  }
  return absl::OkStatus();
}

absl::Status Attack::SendLittle(const RoundTask& task, Update& update,
                                ClientState& state) const {
  const TensorList* seen = FindKept(state, kSeenWeights);
  if (seen != nullptr) {
    FEDLB_RETURN_IF_ERROR(CheckFits(task.weights, *seen, "attack: weights"));
    const double rounds = static_cast<double>(task.round) -
                          (*FindKept(state, kSeenRound))[0].item<double>();
    const double rate = update.kind == Update::Kind::kGradient ? -task.lr : 1.0;
    if (rate == 0) {
      return absl::OkStatus();  // the weights tell nothing
    }
    for (size_t i = 0; i < update.parameters().size(); ++i) {
      at::Tensor& parameter = update.parameters()[i];
      const at::Tensor mean =
          task.weights[i].sub((*seen)[i]).div_(rounds * rate);
      const at::Tensor deviation = parameter.sub(mean).abs_();
      parameter = mean.sub(deviation, options_.z);
    }
  }
  Keep(kSeenWeights, Clone(task.weights), state);
  Keep(kSeenRound, {ToTensor({static_cast<double>(task.round)})}, state);
  return absl::OkStatus();
}

int64_t Attack::BytesPerClient(const TensorLayout& layout) const {
  return options_.kind == AttackKind::kLittleIsEnough
             ? NumBytes(layout) + int64_t{sizeof(double)}
             : 0;
}

}  // namespace fedlb::algorithms
