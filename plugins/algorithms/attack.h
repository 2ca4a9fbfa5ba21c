// Clients that want the training to fail, for studies of rules that resist
// them.

#ifndef FEDLB_PLUGINS_ALGORITHMS_ATTACK_H_
#define FEDLB_PLUGINS_ALGORITHMS_ATTACK_H_

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/client_algorithm.h"
#include "fedlb/param_schema.h"
#include "fedlb/tensor_list.h"

namespace fedlb::algorithms {

enum class AttackKind {
  kSignFlip,
  kScale,
  kGaussian,
  kNotANumber,
  kLabelFlip,
  kLittleIsEnough,
};

struct AttackOptions {
  AttackKind kind = AttackKind::kSignFlip;
  std::vector<int64_t> clients = {0};
  double factor = 1;
  double sigma = 1;
  double z = 1;
};

// What a hostile client sends for its honest update u:
//
//   sign_flip           -factor u
//   scale               factor u
//   gaussian            normal numbers of standard deviation sigma
//   not_a_number        NaN
//   label_flip          an update from training on labels C - 1 - y
//   little_is_enough    m - z s for every parameter, after M. Baruch et al., "A
//                       Little Is Enough: Circumventing Defenses For
//                       Distributed Learning", NeurIPS 2019. Their attackers
//                       know updates of others; these know what a client sees:
//                       m is the mean update of the rounds since the client
//                       took part last (as applied by a server with a rate of
//                       1, or with the round's rate in BSP), and s is |u - m|.
//                       Until then u itself.
class Attack final : public ClientAlgorithm {
 public:
  using Options = AttackOptions;
  static constexpr char kName[] = "attack";
  static constexpr char kSummary[] =
      "Some clients send hostile updates, or learn from false labels.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Attack>> Create(
      const Options& options, const ComponentContext& context);

  absl::Status AdjustTargets(int64_t client, int64_t num_classes,
                             at::Tensor& targets) const override;
  absl::Status AddToUpdate(const RoundTask& task, const TensorList& weights,
                           Update& update, ClientState& state) const override;
  int64_t BytesPerClient(const TensorLayout& layout) const override;

 private:
  Attack(const Options& options, uint64_t seed)
      : options_(options), seed_(seed) {}

  bool IsHostile(int64_t client) const;
  absl::Status SendLittle(const RoundTask& task, Update& update,
                          ClientState& state) const;

  const Options options_;
  const uint64_t seed_;
};

}  // namespace fedlb::algorithms

#endif  // FEDLB_PLUGINS_ALGORITHMS_ATTACK_H_
