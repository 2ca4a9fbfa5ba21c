// Curves and stretches of rounds, kept small however long a run is.

#ifndef FEDLB_SRC_REPORT_CURVE_H_
#define FEDLB_SRC_REPORT_CURVE_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fedlb/export.h"

namespace fedlb {

// A value and where the run stood when it was measured.
struct CurvePoint {
  int64_t round = 0;
  double steps = 0;
  double samples = 0;
  double seconds = 0;
  double virtual_seconds = 0;
  double value = 0;
};

// Keeps at most kMaxPoints of the points that are added: of every stretch of
// 2^k neighbours the lowest and the highest, so that no spike is lost, and the
// first and the last point of all.
class FEDLB_API Curve {
 public:
  static constexpr size_t kMaxPoints = 2000;

  void Add(const CurvePoint& point);

  // In the order in which they were added.
  std::vector<CurvePoint> Points() const;

  bool empty() const { return stretches_.empty(); }
  // Less than two different values.
  bool flat() const;
  // The following need a curve that is not empty.
  const CurvePoint& last() const { return last_.point; }
  const CurvePoint& highest() const;

 private:
  struct Numbered {
    int64_t number = 0;
    CurvePoint point;
  };
  struct Stretch {
    Numbered lowest;
    Numbered highest;
    int64_t count = 0;
  };

  void MergeNeighbours();

  std::vector<Stretch> stretches_;
  int64_t stretch_size_ = 1;
  int64_t num_points_ = 0;
  Numbered first_;
  Numbered last_;
};

// Rounds of which something is true, as [first, last] of every stretch. Beyond
// kMaxSpans of them the narrowest gaps are closed.
class FEDLB_API RoundSpans {
 public:
  static constexpr size_t kMaxSpans = 1000;

  // Rounds come in ascending order.
  void Add(int64_t round);

  const std::vector<std::pair<int64_t, int64_t>>& spans() const {
    return spans_;
  }

 private:
  std::vector<std::pair<int64_t, int64_t>> spans_;
  int64_t max_step_ = 1;  // from the end of a span to what still extends it
};

}  // namespace fedlb

#endif  // FEDLB_SRC_REPORT_CURVE_H_
