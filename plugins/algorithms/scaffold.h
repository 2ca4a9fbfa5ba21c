// SCAFFOLD: control variates against the drift of clients.

#ifndef FEDLB_PLUGINS_ALGORITHMS_SCAFFOLD_H_
#define FEDLB_PLUGINS_ALGORITHMS_SCAFFOLD_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/client_algorithm.h"
#include "fedlb/param_schema.h"

namespace fedlb::algorithms {

struct ScaffoldOptions {
  double momentum = 0;
};

// S. P. Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for
// Federated Learning", ICML 2020, Algorithm 1 with option II. A client's K
// local steps follow g - c_i + c; then
//   c_i+ = c_i - c + (x - y) / (K eta)
// and the server moves c by |S| / N times the mean of c_i+ - c_i. All variates
// begin with 0. The server's rate eta_g is that of [server_optimizer].
//
// c_i+ is the mean of the client's gradients because plain SGD sums them up.
// With momentum the sum is weighted, and the weights' total takes the place of
// K; weight decay counts as a part of the gradient.
//
// The paper's means are uniform, so a client reports one example whatever it
// holds; the metrics of a round are means over clients then.
class Scaffold final : public ClientAlgorithm {
 public:
  using Options = ScaffoldOptions;
  static constexpr char kName[] = "scaffold";
  static constexpr char kSummary[] =
      "Corrects every local step by how the client's gradient differs from "
      "the federation's; all clients weigh the same.";

  static ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<Scaffold>> Create(
      const Options& options, const ComponentContext& context);

  absl::Status PrepareTask(RoundTask& task) override;
  absl::Status AdjustGradient(const RoundTask& task, const ClientState& state,
                              const TensorList& weights,
                              TensorList& gradient) const override;
  absl::Status AddToUpdate(const RoundTask& task, const TensorList& weights,
                           Update& update, ClientState& state) const override;
  absl::Status FinishRound(const RoundOutcome& outcome,
                           TensorList& aggregate) override;
  int64_t BytesPerClient(const TensorLayout& layout) const override;

  ComponentState SaveState() const override;
  absl::Status LoadState(const ComponentState& state) override;

 private:
  explicit Scaffold(const Options& options) : options_(options) {}

  const Options options_;
  TensorList control_;  // c; empty before the first round
};

}  // namespace fedlb::algorithms

#endif  // FEDLB_PLUGINS_ALGORITHMS_SCAFFOLD_H_
