// How long clients take over a round, and how long they may.

#ifndef FEDLB_TRANSPORTS_THRIFT_ROUND_TIMES_H_
#define FEDLB_TRANSPORTS_THRIFT_ROUND_TIMES_H_

#include <cstdint>
#include <deque>
#include <optional>

#include "fedlb/param_schema.h"
#include "thrift/clock.h"

namespace fedlb::thrift {

// Where the time of a round's updates went; means over those that arrived.
struct RoundPhases {
  double download_seconds = 0;
  double work_seconds = 0;
  double upload_seconds = 0;
};

// When a client was given a task, had all of it, announced its update, and had
// sent all of that.
struct AnswerTimes {
  Clock::time_point handed, fetched, announced, committed;
};

// Guarded by the coordinator's mutex.
class RoundTimes {
 public:
  // "auto": three times what 9 of 10 of the latest 1000 updates took, and at
  // least a second; none before 3 updates have come. 0: never.
  explicit RoundTimes(const AutoNumber& deadline_seconds)
      : deadline_seconds_(deadline_seconds) {}

  // Of a round that begins at `start`.
  std::optional<Clock::time_point> Deadline(Clock::time_point start) const;

  void BeginRound();
  // An update that counts, of the round that began at `start`.
  void Add(Clock::time_point start, const AnswerTimes& times);

  // Of the updates since BeginRound.
  RoundPhases phases() const;

 private:
  const AutoNumber deadline_seconds_;
  std::deque<double> answer_seconds_;  // from task to update
  RoundPhases sums_;
  int64_t count_ = 0;
};

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_ROUND_TIMES_H_
