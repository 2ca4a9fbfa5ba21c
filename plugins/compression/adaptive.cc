#include "compression/adaptive.h"

#include <string>
#include <utility>

#include <ATen/core/Tensor.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "compression/tensor_codec.h"
#include "fedlb/registry.h"
#include "fedlb/round_task.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"

namespace fedlb::compression {
namespace {

// 1 where the update was compressed mildly: it tells the server, and its mean
// over clients is in the metrics.
constexpr char kMild[] = "compressor.mild";
constexpr char kCritical[] = "critical";
constexpr char kMildPrefix[] = "mild/";
constexpr char kStrongPrefix[] = "strong/";

// What one of the two remembers: the residual, which both share, and under its
// prefix what is its own.
ComponentState StateOf(const std::string& prefix, const ComponentState& both) {
  ComponentState own;
  for (const auto& [name, tensors] : both.tensors) {
    if (name == kResidual) {
      own.tensors[name] = tensors;
    } else if (absl::StartsWith(name, prefix)) {
      own.tensors[name.substr(prefix.size())] = tensors;
    }
  }
  return own;
}

void KeepState(const std::string& prefix, ComponentState own,
               ComponentState& both) {
  for (auto& [name, tensors] : own.tensors) {
    both.tensors[name == kResidual ? name : absl::StrCat(prefix, name)] =
        std::move(tensors);
  }
}

absl::StatusOr<std::unique_ptr<Compressor>> CreateNested(
    const char* key, ConfigTable table, double ratio,
    const ComponentContext& context) {
  if (table.Find("name") == nullptr) {
    table.Set("name", ConfigValue(std::string("topk")));
    if (table.Find("ratio") == nullptr) {
      table.Set("ratio", ConfigValue(ratio));
    }
  }
  const auto* name = table.Find("name")->As<std::string>();
  if (name != nullptr && *name == Adaptive::kName) {
    return ConfigError(
        absl::StrCat("compressor.", key, ": adaptive cannot contain adaptive"));
  }
  auto nested = context.registry->Create<Compressor>(table, context);
  if (!nested.ok()) {
    return Annotate(nested.status(), absl::StrCat("compressor.", key));
  }
  return nested;
}

}  // namespace

ParamSchema<AdaptiveOptions> Adaptive::Schema() {
  return ParamSchema<Options>()
      .AddChoice(
          "mild_when", &Options::mild_when,
          {{"critical", MildWhen::kCritical}, {"lossy", MildWhen::kLossy}},
          "Compress mildly in critical phases of the training "
          "(Accordion), or where compressing strongly would lose too "
          "much of an update (GraVAC).")
      .Add("min_kept", &Options::min_kept,
           "With lossy: the share of the squared norm that the strong "
           "compressor has to keep.",
           InLeftOpen(0, 1))
      .Add("mild", &Options::mild,
           "Name and options of the mild compressor; topk with ratio 0.1 "
           "unless given.")
      .Add("strong", &Options::strong,
           "Name and options of the strong compressor; topk with ratio 0.01 "
           "unless given.");
}

absl::StatusOr<std::unique_ptr<Adaptive>> Adaptive::Create(
    const Options& options, const ComponentContext& context) {
  if (context.registry == nullptr) {
    return absl::FailedPreconditionError(
        "the compressor adaptive needs a registry to take its two from");
  }
  constexpr double kMildRatio = 0.1;
  constexpr double kStrongRatio = 0.01;
  FEDLB_ASSIGN_OR_RETURN(
      auto mild, CreateNested("mild", options.mild, kMildRatio, context));
  FEDLB_ASSIGN_OR_RETURN(auto strong, CreateNested("strong", options.strong,
                                                   kStrongRatio, context));
  return std::unique_ptr<Adaptive>(
      new Adaptive(options, std::move(mild), std::move(strong)));
}

absl::StatusOr<bool> Adaptive::KeepsEnough(const Update& update,
                                           const ComponentState& residual,
                                           const Update& compressed) const {
  Update kept = compressed;
  FEDLB_RETURN_IF_ERROR(
      strong_->Decompress(LayoutOf(update.parameters()), kept));
  TensorList owed = Clone(update.parameters());
  if (const auto before = residual.tensors.find(kResidual);
      before != residual.tensors.end()) {
    AddScaled(before->second, 1, owed);
  }
  const double all = SquaredNorm(owed);
  AddScaled(kept.parameters(), -1, owed);
  return all == 0 || 1 - SquaredNorm(owed) / all >= options_.min_kept;
}

absl::Status Adaptive::Compress(Update& update,
                                ComponentState& residual) const {
  const auto critical = update.scalars.find(kCritical);
  bool mild = options_.mild_when == MildWhen::kCritical &&
              critical != update.scalars.end() && critical->second >= 0.5;
  if (!mild) {
    Update compressed = update;
    ComponentState own = StateOf(kStrongPrefix, residual);
    FEDLB_RETURN_IF_ERROR(strong_->Compress(compressed, own));
    if (options_.mild_when == MildWhen::kLossy) {
      FEDLB_ASSIGN_OR_RETURN(const bool enough,
                             KeepsEnough(update, residual, compressed));
      mild = !enough;
    }
    if (!mild) {
      update = std::move(compressed);
      KeepState(kStrongPrefix, std::move(own), residual);
    }
  }
  if (mild) {
    ComponentState own = StateOf(kMildPrefix, residual);
    FEDLB_RETURN_IF_ERROR(mild_->Compress(update, own));
    KeepState(kMildPrefix, std::move(own), residual);
  }
  update.scalars[kMild] = mild ? 1 : 0;
  return absl::OkStatus();
}

absl::Status Adaptive::Decompress(const TensorLayout& layout,
                                  Update& update) const {
  const auto mild = update.scalars.find(kMild);
  if (mild == update.scalars.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the update does not say ", kMild));
  }
  return (mild->second >= 0.5 ? mild_ : strong_)->Decompress(layout, update);
}

int64_t Adaptive::BytesPerClient(const TensorLayout& layout) const {
  // They share the residual; each may remember more.
  return mild_->BytesPerClient(layout) + strong_->BytesPerClient(layout);
}

}  // namespace fedlb::compression
