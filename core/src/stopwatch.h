// Seconds on a clock that nobody sets.

#ifndef FEDLB_SRC_STOPWATCH_H_
#define FEDLB_SRC_STOPWATCH_H_

#include <chrono>

namespace fedlb {

class Stopwatch {
 public:
  // Seconds since the last lap, or since the watch was made.
  double Lap() {
    const Clock::time_point now = Clock::now();
    const std::chrono::duration<double> lap = now - last_;
    last_ = now;
    return lap.count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_ = Clock::now();
};

}  // namespace fedlb

#endif  // FEDLB_SRC_STOPWATCH_H_
