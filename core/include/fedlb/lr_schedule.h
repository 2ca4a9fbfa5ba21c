// How the learning rate changes over a run.

#ifndef FEDLB_LR_SCHEDULE_H_
#define FEDLB_LR_SCHEDULE_H_

#include <cstdint>

#include "fedlb/component.h"
#include "fedlb/export.h"

namespace fedlb {

class FEDLB_API LrSchedule : public Component {
 public:
  static constexpr char kKind[] = "lr_schedule";

  // What the base rate of round `round` (0 <= round < num_rounds) is
  // multiplied by. A client's steps within a round share one rate. Pure.
  virtual double Factor(int64_t round, int64_t num_rounds) const = 0;
};

}  // namespace fedlb

#endif  // FEDLB_LR_SCHEDULE_H_
