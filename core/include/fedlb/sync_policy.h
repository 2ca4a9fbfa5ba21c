// How much local work a round asks for.

#ifndef FEDLB_SYNC_POLICY_H_
#define FEDLB_SYNC_POLICY_H_

#include <cstdint>

#include "fedlb/component.h"
#include "fedlb/export.h"
#include "fedlb/round_task.h"

namespace fedlb {

class FEDLB_API SyncPolicy : public Component {
 public:
  static constexpr char kKind[] = "sync_policy";

  virtual RoundWork Plan(int64_t round) const = 0;
};

}  // namespace fedlb

#endif  // FEDLB_SYNC_POLICY_H_
