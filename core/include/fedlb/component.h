// What everything with a name in a configuration file has in common.

#ifndef FEDLB_COMPONENT_H_
#define FEDLB_COMPONENT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "fedlb/export.h"
#include "fedlb/logger.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

class ComponentRegistry;

// Named numbers: what a component reports for the log, what travels with a task
// or an update.
using ScalarMap = std::map<std::string, double>;

// Named lists of tensors.
using TensorGroups = std::map<std::string, TensorList>;

// What a component must remember to go on as if it had never stopped. It is
// written to checkpoints and, for client-scope mappers, broadcast to clients.
struct ComponentState {
  TensorGroups tensors;
  ScalarMap scalars;

  bool empty() const { return tensors.empty() && scalars.empty(); }
};

// A component is a class that derives from the interface of its kind and has
//   static constexpr char kName[], kSummary[];
//   static ParamSchema<Options> Schema();
//   static absl::StatusOr<std::unique_ptr<C>> Create(
//       const Options& options, const ComponentContext& context);
// Create may rely on options that satisfy Schema(). "Cannot run here" is
// kFailedPrecondition from Create.
class FEDLB_API Component {
 public:
  Component() = default;
  Component(const Component&) = delete;
  Component& operator=(const Component&) = delete;
  virtual ~Component();

  // The state after the last completed call; tensors may alias the component's
  // own. Stateless components keep these defaults.
  virtual ComponentState SaveState() const;
  // kInvalidArgument when `state` is not one that SaveState() returned for the
  // same options and layout.
  virtual absl::Status LoadState(const ComponentState& state);
};

// The surroundings a component is made in. Parameters come down as arguments;
// there are no globals.
struct ComponentContext {
  uint64_t seed = 1;
  at::Device device = at::kCPU;
  // Type of weights and gradients: float, or double for exact comparisons.
  at::ScalarType dtype = at::kFloat;

  // What the dataset holds; empty and 0 while the dataset itself is made.
  std::vector<int64_t> example_shape;  // without the batch dimension
  int64_t num_classes = 0;
  int64_t num_clients = 1;
  int64_t num_rounds = 1;

  // For components that contain others; outlives the component.
  const ComponentRegistry* registry = nullptr;
  Logger* logger = &Logger::Null();
};

}  // namespace fedlb

#endif  // FEDLB_COMPONENT_H_
