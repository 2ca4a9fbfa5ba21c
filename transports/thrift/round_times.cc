#include "thrift/round_times.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace fedlb::thrift {
namespace {

constexpr double kDeadlineFactor = 3;
constexpr double kDeadlineQuantile = 0.9;
constexpr double kShortestDeadline = 1;
constexpr size_t kTimesKept = 1000;
constexpr size_t kTimesNeeded = 3;

}  // namespace

std::optional<Clock::time_point> RoundTimes::Deadline(
    Clock::time_point start) const {
  if (!deadline_seconds_.is_auto()) {
    return deadline_seconds_.value > 0
               ? std::optional(start + Seconds(deadline_seconds_.value))
               : std::nullopt;
  }
  if (answer_seconds_.size() < kTimesNeeded) {
    return std::nullopt;
  }
  std::vector<double> seconds(answer_seconds_.begin(), answer_seconds_.end());
  const auto rank = static_cast<std::ptrdiff_t>(
      kDeadlineQuantile * static_cast<double>(seconds.size() - 1));
  std::nth_element(seconds.begin(), seconds.begin() + rank, seconds.end());
  return start + Seconds(std::max(
                     kShortestDeadline,
                     kDeadlineFactor * seconds[static_cast<size_t>(rank)]));
}

void RoundTimes::BeginRound() {
  sums_ = {};
  count_ = 0;
}

void RoundTimes::Add(Clock::time_point start, const AnswerTimes& times) {
  // A client that has the task already, from a process of before, fetches none.
  const Clock::time_point fetched = std::max(times.fetched, times.handed);
  sums_.download_seconds += SecondsBetween(times.handed, fetched);
  sums_.work_seconds += SecondsBetween(fetched, times.announced);
  sums_.upload_seconds += SecondsBetween(times.announced, times.committed);
  ++count_;
  answer_seconds_.push_back(SecondsBetween(start, times.committed));
  if (answer_seconds_.size() > kTimesKept) {
    answer_seconds_.pop_front();
  }
}

RoundPhases RoundTimes::phases() const {
  if (count_ == 0) {
    return {};
  }
  const auto count = static_cast<double>(count_);
  return {.download_seconds = sums_.download_seconds / count,
          .work_seconds = sums_.work_seconds / count,
          .upload_seconds = sums_.upload_seconds / count};
}

}  // namespace fedlb::thrift
