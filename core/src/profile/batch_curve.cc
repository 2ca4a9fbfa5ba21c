#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/ops/linalg_lstsq.h>
#include <ATen/ops/ones.h>

#include "absl/strings/str_cat.h"
#include "fedlb/profile.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"

namespace fedlb {
namespace {

using Points = std::vector<std::pair<int64_t, double>>;
using Shape = BatchCurve::Shape;
using Coefficients = std::array<double, 4>;

// Half the width of an interval in relation to its value: what is left to
// rounding and alignment where the points are free of noise, and what every
// doubling beyond the largest point adds.
constexpr double kExactWidth = 0.005;
constexpr double kExtrapolationWidth = 0.02;
// A shape with more freedom has to be better by this factor.
constexpr double kDraw = 0.9;
constexpr double kRounding = 1e-9;
// Beyond these, in seconds or bytes, nothing was measured, and squares would
// overflow.
constexpr double kSmallestValue = 1e-12;
constexpr double kLargestValue = 1e18;
// Left out, a point is bridged by a segment twice as long as any that the curve
// is read from, and the error of a segment grows with at least its length.
constexpr double kSegmentShare = 0.5;

double AlongLine(const std::pair<int64_t, double>& from,
                 const std::pair<int64_t, double>& to, double batch_size) {
  const auto begin = static_cast<double>(from.first);
  const auto length = static_cast<double>(to.first) - begin;
  return from.second +
         (to.second - from.second) * (batch_size - begin) / length;
}

// The index of the first point of the segment that `batch_size` lies in; the
// first and the last segment go on for ever.
size_t SegmentOf(const Points& points, double batch_size) {
  size_t i = 0;
  while (i + 2 < points.size() &&
         static_cast<double>(points[i + 1].first) < batch_size) {
    ++i;
  }
  return i;
}

double SegmentValue(const Points& points, double batch_size) {
  if (points.size() == 1) {
    return points[0].second;
  }
  const size_t i = SegmentOf(points, batch_size);
  return AlongLine(points[i], points[i + 1], batch_size);
}

// By how much segment i's end lies above the line of the segment before it,
// where that line meets the one of the segment after it within segment i: the
// curve bends there once. 0 where they do not meet in it.
double BendIn(const Points& points, size_t i) {
  const double at_end = points[i + 1].second -
                        AlongLine(points[i - 1], points[i],
                                  static_cast<double>(points[i + 1].first));
  const double at_begin =
      points[i].second - AlongLine(points[i + 1], points[i + 2],
                                   static_cast<double>(points[i].first));
  return at_begin * at_end > 0 ? at_end : 0;
}

// The same where the points are free of noise and come from lines that meet.
double KinkedValue(const Points& points, double batch_size) {
  const double chord = SegmentValue(points, batch_size);
  const size_t i = SegmentOf(points, batch_size);
  if (i == 0) {
    return chord;
  }
  const double left = AlongLine(points[i - 1], points[i], batch_size);
  if (i + 2 < points.size()) {
    const double bend = BendIn(points, i);
    const double right = AlongLine(points[i + 1], points[i + 2], batch_size);
    return bend > 0   ? std::max(left, right)
           : bend < 0 ? std::min(left, right)
                      : chord;
  }
  // Where in the last segment a bend may be is not known: midway between the
  // chord, right if it is at the beginning, and a curve that leaves the line
  // before it by and by. If that line is bent itself, the chord alone.
  if (batch_size > static_cast<double>(points[i + 1].first) ||
      (i > 1 && BendIn(points, i - 1) != 0)) {
    return chord;
  }
  const auto begin = static_cast<double>(points[i].first);
  const double part =
      (batch_size - begin) / (static_cast<double>(points[i + 1].first) - begin);
  return chord + (left - chord) * (1 - part) / 2;
}

double SmoothValue(const Coefficients& c, double batch_size) {
  return c[0] + c[1] * batch_size + c[2] * std::max(0.0, batch_size - c[3]);
}

// Least squares of the relative errors with the bend at `knee`, or without one.
std::optional<Coefficients> LeastSquares(const Points& points,
                                         std::optional<int64_t> knee) {
  const size_t columns = knee.has_value() ? 3 : 2;
  std::vector<double> rows;
  for (const auto& [batch_size, value] : points) {
    const auto b = static_cast<double>(batch_size);
    rows.push_back(1 / value);
    rows.push_back(b / value);
    if (knee.has_value()) {
      rows.push_back(std::max(0.0, b - static_cast<double>(*knee)) / value);
    }
  }
  const auto count = static_cast<int64_t>(points.size());
  const at::Tensor design =
      ToTensor(rows).view({count, static_cast<int64_t>(columns)});
  const at::Tensor ones = at::ones({count, 1}, at::kDouble);
  const std::vector<double> solution = ToVector(
      std::get<0>(at::linalg_lstsq(design, ones)).flatten().contiguous());
  Coefficients c = {solution[0], solution[1]};
  if (knee.has_value()) {
    c[2] = solution[2];
    c[3] = static_cast<double>(*knee);
  }
  const bool grows = c[0] >= 0 && c[1] >= 0 && c[1] + c[2] >= 0;
  return grows ? std::optional(c) : std::nullopt;
}

double SquaredError(const Points& points, const Coefficients& c) {
  double sum = 0;
  for (const auto& [batch_size, value] : points) {
    const double error =
        SmoothValue(c, static_cast<double>(batch_size)) / value - 1;
    sum += error * error;
  }
  return sum;
}

// A bend is looked for at every inner point of `all`.
std::optional<Coefficients> FitSmooth(const Points& points, Shape shape,
                                      const Points& all) {
  if (shape == Shape::kLinear) {
    std::optional<Coefficients> line = LeastSquares(points, std::nullopt);
    if (line.has_value()) {
      return line;
    }
    // Through the origin, or level: what is left when one of the two would be
    // negative.
    double through_origin = 0;
    double level = 0;
    double origin_weight = 0;
    double level_weight = 0;
    for (const auto& [batch_size, value] : points) {
      const double slope = static_cast<double>(batch_size) / value;
      through_origin += slope;
      origin_weight += slope * slope;
      level += 1 / value;
      level_weight += 1 / (value * value);
    }
    const Coefficients a = {0, through_origin / origin_weight};
    const Coefficients b = {level / level_weight, 0};
    return SquaredError(points, a) <= SquaredError(points, b) ? a : b;
  }
  std::optional<Coefficients> best;
  for (size_t i = 1; i + 1 < all.size() && points.size() >= 4; ++i) {
    const std::optional<Coefficients> bent = LeastSquares(points, all[i].first);
    if (bent.has_value() &&
        (!best.has_value() ||
         SquaredError(points, *bent) < SquaredError(points, *best))) {
      best = bent;
    }
  }
  return best;
}

// The root mean square of the relative errors at the inner points, each left
// out in turn; NaN where the shape cannot be fitted.
double CrossValidate(const Points& points, Shape shape) {
  double sum = 0;
  for (size_t i = 1; i + 1 < points.size(); ++i) {
    Points others = points;
    others.erase(others.begin() + static_cast<long>(i));
    const auto b = static_cast<double>(points[i].first);
    double value = 0;
    if (shape == Shape::kSegments) {
      value = SegmentValue(others, b);
    } else {
      const std::optional<Coefficients> c = FitSmooth(others, shape, points);
      if (!c.has_value()) {
        return std::numeric_limits<double>::quiet_NaN();
      }
      value = SmoothValue(*c, b);
    }
    double error = value / points[i].second - 1;
    if (shape == Shape::kSegments) {
      error *= kSegmentShare;
    }
    sum += error * error;
  }
  return points.size() < 3
             ? std::numeric_limits<double>::quiet_NaN()
             : std::sqrt(sum / static_cast<double>(points.size() - 2));
}

absl::Status CheckPoints(Points& points) {
  if (points.empty()) {
    return absl::InvalidArgumentError("no batch size was measured");
  }
  std::sort(points.begin(), points.end());
  for (size_t i = 0; i < points.size(); ++i) {
    if (points[i].first < 1 || !(points[i].second >= kSmallestValue) ||
        !(points[i].second <= kLargestValue)) {
      return absl::InvalidArgumentError(
          absl::StrCat("batch size ", points[i].first, " with the value ",
                       points[i].second, ": no measurement"));
    }
    if (i > 0 && points[i - 1].first == points[i].first) {
      return absl::InvalidArgumentError(
          absl::StrCat("batch size ", points[i].first, " was measured twice"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::string_view BatchCurve::ShapeName(Shape shape) {
  switch (shape) {
    case Shape::kLinear:
      return "linear";
    case Shape::kKnee:
      return "knee";
    case Shape::kSegments:
      return "segments";
  }
  return "";
}

absl::StatusOr<BatchCurve> BatchCurve::Fit(Points points) {
  FEDLB_ASSIGN_OR_RETURN(BatchCurve curve, FitLine(std::move(points)));
  for (const Shape shape : {Shape::kKnee, Shape::kSegments}) {
    const double error = CrossValidate(curve.points_, shape);
    if (!(error < kDraw * curve.error_ - kRounding)) {
      continue;
    }
    if (shape == Shape::kKnee) {
      const std::optional<Coefficients> bent =
          FitSmooth(curve.points_, shape, curve.points_);
      if (!bent.has_value()) {
        continue;
      }
      curve.coefficients_ = *bent;
    }
    curve.shape_ = shape;
    curve.error_ = error;
  }
  return curve;
}

absl::StatusOr<BatchCurve> BatchCurve::FitLine(Points points) {
  FEDLB_RETURN_IF_ERROR(CheckPoints(points));
  BatchCurve curve;
  curve.points_ = std::move(points);
  curve.coefficients_ =
      *FitSmooth(curve.points_, Shape::kLinear, curve.points_);
  curve.error_ = CrossValidate(curve.points_, Shape::kLinear);
  return curve;
}

absl::StatusOr<BatchCurve> BatchCurve::FitSegments(Points points) {
  FEDLB_RETURN_IF_ERROR(CheckPoints(points));
  BatchCurve curve;
  curve.points_ = std::move(points);
  curve.shape_ = Shape::kSegments;
  curve.error_ = CrossValidate(curve.points_, Shape::kSegments);
  curve.exact_ = true;
  return curve;
}

double BatchCurve::Value(double batch_size) const {
  if (exact_) {
    return KinkedValue(points_, batch_size);
  }
  return shape_ == Shape::kSegments ? SegmentValue(points_, batch_size)
                                    : SmoothValue(coefficients_, batch_size);
}

absl::StatusOr<Estimate> BatchCurve::Predict(int64_t batch_size) const {
  if (batch_size < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("batch size ", batch_size, ": must be at least 1"));
  }
  if (points_.empty()) {
    return absl::InvalidArgumentError("nothing was measured");
  }
  const auto largest = static_cast<double>(points_.back().first);
  const auto b = static_cast<double>(batch_size);
  if (points_.size() == 1 && batch_size != points_[0].first) {
    return absl::InvalidArgumentError(
        absl::StrCat("batch size ", batch_size, ": only ", points_[0].first,
                     " was measured, which says nothing of others"));
  }
  if (b > kLargestExtrapolation * largest) {
    return absl::InvalidArgumentError(absl::StrCat(
        "batch size ", batch_size, " is more than ", kLargestExtrapolation,
        " times the largest that was measured, ", points_.back().first));
  }
  Estimate estimate = {.value = Value(b)};
  estimate.low = estimate.high = estimate.value;
  double width = exact_ ? kExactWidth : 2 * error_;
  if (shape_ == Shape::kSegments) {
    // The lines of the neighbours bound a curve that bends one way.
    const size_t i = SegmentOf(points_, b);
    const auto include = [&](size_t from) {
      const double beside = AlongLine(points_[from], points_[from + 1], b);
      estimate.low = std::min(estimate.low, beside);
      estimate.high = std::max(estimate.high, beside);
    };
    if (points_.size() > 1) {
      include(i);
    }
    if (i > 0) {
      include(i - 1);
    }
    if (i + 2 < points_.size()) {
      include(i + 1);
    }
    width = exact_ ? kExactWidth : error_;
  }
  if (std::isnan(width)) {
    width = kExtrapolationWidth;  // too few points to tell
  }
  if (b > largest) {
    width += kExtrapolationWidth * (b / largest - 1);
  }
  estimate.low = std::max(0.0, estimate.low - width * estimate.value);
  estimate.high += width * estimate.value;
  return estimate;
}

int64_t BatchCurve::LargestWithin(double bound, int64_t limit) const {
  if (points_.empty()) {
    return 0;
  }
  const auto fits = [this, bound](int64_t batch_size) {
    const absl::StatusOr<Estimate> estimate = Predict(batch_size);
    return estimate.ok() && estimate->high <= bound;
  };
  if (points_.size() == 1) {
    return points_[0].first <= limit && fits(points_[0].first)
               ? points_[0].first
               : 0;
  }
  // Everything below `good` fits, nothing from `bad` on.
  int64_t good = 0;
  int64_t bad =
      std::min(limit, static_cast<int64_t>(
                          kLargestExtrapolation *
                          static_cast<double>(points_.back().first))) +
      1;
  while (bad - good > 1) {
    const int64_t middle = good + (bad - good) / 2;
    (fits(middle) ? good : bad) = middle;
  }
  return good;
}

std::vector<double> BatchCurve::Residuals() const {
  std::vector<double> residuals;
  residuals.reserve(points_.size());
  for (const auto& [batch_size, value] : points_) {
    residuals.push_back(Value(static_cast<double>(batch_size)) / value - 1);
  }
  return residuals;
}

}  // namespace fedlb
