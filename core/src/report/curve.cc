#include "report/curve.h"

#include <algorithm>

namespace fedlb {
namespace {

// A stretch of more than one point shows two; two are left for the first and
// the last.
constexpr int64_t kMaxStretches = (Curve::kMaxPoints - 2) / 2;

}  // namespace

void Curve::Add(const CurvePoint& point) {
  const Numbered added = {num_points_++, point};
  if (added.number == 0) {
    first_ = added;
  }
  last_ = added;
  if (!stretches_.empty() && stretches_.back().count < stretch_size_) {
    Stretch& stretch = stretches_.back();
    if (point.value < stretch.lowest.point.value) {
      stretch.lowest = added;
    }
    if (point.value > stretch.highest.point.value) {
      stretch.highest = added;
    }
    ++stretch.count;
    return;
  }
  stretches_.push_back({added, added, 1});
  const auto size = static_cast<int64_t>(stretches_.size());
  if (size >
      (stretch_size_ == 1 ? static_cast<int64_t>(kMaxPoints) : kMaxStretches)) {
    MergeNeighbours();
  }
}

void Curve::MergeNeighbours() {
  size_t kept = 0;
  for (size_t i = 0; i < stretches_.size(); i += 2) {
    Stretch merged = stretches_[i];
    if (i + 1 < stretches_.size()) {
      const Stretch& next = stretches_[i + 1];
      if (next.lowest.point.value < merged.lowest.point.value) {
        merged.lowest = next.lowest;
      }
      if (next.highest.point.value > merged.highest.point.value) {
        merged.highest = next.highest;
      }
      merged.count += next.count;
    }
    stretches_[kept++] = merged;
  }
  stretches_.resize(kept);
  stretch_size_ *= 2;
  // From single points to pairs nothing is saved yet.
  if (static_cast<int64_t>(kept) > kMaxStretches) {
    MergeNeighbours();
  }
}

std::vector<CurvePoint> Curve::Points() const {
  std::vector<Numbered> numbered;
  numbered.reserve(2 * stretches_.size() + 2);
  if (!empty()) {
    numbered.push_back(first_);
    numbered.push_back(last_);
  }
  for (const Stretch& stretch : stretches_) {
    numbered.push_back(stretch.lowest);
    numbered.push_back(stretch.highest);
  }
  std::sort(
      numbered.begin(), numbered.end(),
      [](const Numbered& a, const Numbered& b) { return a.number < b.number; });
  std::vector<CurvePoint> points;
  int64_t previous = -1;
  for (const Numbered& candidate : numbered) {
    if (candidate.number != previous) {
      points.push_back(candidate.point);
      previous = candidate.number;
    }
  }
  return points;
}

bool Curve::flat() const {
  return std::all_of(
      stretches_.begin(), stretches_.end(), [this](const Stretch& stretch) {
        return stretch.lowest.point.value == first_.point.value &&
               stretch.highest.point.value == first_.point.value;
      });
}

const CurvePoint& Curve::highest() const {
  return std::max_element(stretches_.begin(), stretches_.end(),
                          [](const Stretch& a, const Stretch& b) {
                            return a.highest.point.value <
                                   b.highest.point.value;
                          })
      ->highest.point;
}

void RoundSpans::Add(int64_t round) {
  if (!spans_.empty() && round - spans_.back().second <= max_step_) {
    spans_.back().second = round;
    return;
  }
  spans_.emplace_back(round, round);
  while (spans_.size() > kMaxSpans) {
    max_step_ *= 2;
    size_t kept = 0;
    for (size_t i = 1; i < spans_.size(); ++i) {
      if (spans_[i].first - spans_[kept].second <= max_step_) {
        spans_[kept].second = spans_[i].second;
      } else {
        spans_[++kept] = spans_[i];
      }
    }
    spans_.resize(kept + 1);
  }
}

}  // namespace fedlb
