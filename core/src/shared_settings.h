// Which settings of a run belong to the experiment and which to a machine.

#ifndef FEDLB_SRC_SHARED_SETTINGS_H_
#define FEDLB_SRC_SHARED_SETTINGS_H_

#include <string>
#include <vector>

#include "fedlb/config_table.h"
#include "fedlb/experiment_config.h"
#include "fedlb/export.h"
#include "fedlb/registry.h"

namespace fedlb {

// What a server sends its clients: `resolved` without the settings of this
// machine and of the server's own work (evaluation, checkpoints, stopping,
// simulation, transport).
FEDLB_API ConfigTable SharedSettings(const ConfigTable& resolved,
                           const ComponentRegistry& registry);

struct CombinedSettings {
  ConfigTable settings;
  // Keys to which `own` gives another value than counts.
  std::vector<std::string> overruled;
  // Whether the clients' data is another dataset than the server's.
  bool own_dataset = false;
};

// The server's settings with those of this machine. `own` is a resolved
// configuration, in which values that nobody gave have the origin "default".
// Whatever `shared` says about the machine is passed over: a server sets no
// path here.
FEDLB_API CombinedSettings CombineSettings(const ConfigTable& shared,
                                 const ConfigTable& own,
                                 const ComponentRegistry& registry);

}  // namespace fedlb

#endif  // FEDLB_SRC_SHARED_SETTINGS_H_
