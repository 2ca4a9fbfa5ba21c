// Times of the steady clock: the system's may jump.

#ifndef FEDLB_TRANSPORTS_THRIFT_CLOCK_H_
#define FEDLB_TRANSPORTS_THRIFT_CLOCK_H_

#include <chrono>

namespace fedlb::thrift {

using Clock = std::chrono::steady_clock;

inline Clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(seconds));
}

inline double SecondsBetween(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_CLOCK_H_
