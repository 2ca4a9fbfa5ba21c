#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "fedlb/profile.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

// From where doubling the batch size shortens an epoch by less than this share,
// larger ones are not worth their cost.
constexpr double kDiminishing = 0.05;
// Neighbours on the grid of batch sizes that are compared.
constexpr double kGridRatio = 1.1;
// A smaller batch that is this close to the best is taken instead.
constexpr double kGoodEnough = 0.98;
// More than any client holds, and less than what integers can hold.
constexpr double kManyExamples = 0x1p53;

Estimate Times(double factor, const Estimate& estimate) {
  return {.value = factor * estimate.value,
          .low = factor * estimate.low,
          .high = factor * estimate.high};
}

// Multiples of 8 above 16, which vector units like.
int64_t RoundDown(double batch_size) {
  const auto whole = static_cast<int64_t>(batch_size);
  return whole > 16 ? whole / 8 * 8 : whole;
}

// From `first` on in growing steps, and `last`.
std::vector<int64_t> Grid(int64_t first, int64_t last) {
  std::vector<int64_t> grid;
  for (auto b = static_cast<double>(first); RoundDown(b) < last;
       b = std::max(b + 1, b * kGridRatio)) {
    if (grid.empty() || RoundDown(b) > grid.back()) {
      grid.push_back(RoundDown(b));
    }
  }
  grid.push_back(last);
  return grid;
}

double EpochSteps(double examples, int64_t batch_size) {
  return std::ceil(examples / static_cast<double>(batch_size));
}

std::string ReasonFor(const BatchAdvice& advice, int64_t batches_per_step,
                      int64_t largest, bool bound_by_memory) {
  const std::string beyond =
      advice.diminishing_from < largest
          ? absl::StrFormat(
                "beyond %d doubling the batch shortens an epoch by less than "
                "%g %%",
                advice.diminishing_from, 100 * kDiminishing)
          : absl::StrFormat(
                "up to %d every doubling shortens an epoch by %g %% or more",
                largest, 100 * kDiminishing);
  std::string reason = beyond;
  if (std::isnan(advice.noise_scale)) {
    absl::StrAppend(&reason,
                    "; the gradient noise was not measured, so that nothing is "
                    "said of accuracy");
  } else {
    absl::StrAppendFormat(&reason, "; the noise scale is %.3g examples",
                          advice.noise_scale);
    if (batches_per_step > 1) {
      absl::StrAppendFormat(&reason, ", and a step takes %d batches",
                            batches_per_step);
    }
  }
  if (bound_by_memory && advice.batch_size == largest) {
    absl::StrAppend(&reason, "; memory allows no more");
  }
  return reason;
}

}  // namespace

absl::StatusOr<ProfileModels> ProfileModels::Fit(const DeviceProfile& profile) {
  std::vector<std::pair<int64_t, double>> memory;
  std::vector<std::pair<int64_t, double>> process;
  std::vector<std::pair<int64_t, double>> time;
  for (const ProfilePoint& point : profile.points) {
    memory.emplace_back(point.batch_size,
                        static_cast<double>(point.memory_bytes));
    if (point.process_bytes > 0) {
      process.emplace_back(point.batch_size,
                           static_cast<double>(point.process_bytes));
    }
    if (point.num_timed > 0) {
      time.emplace_back(point.batch_size, point.step_seconds);
    }
  }
  ProfileModels models;
  FEDLB_ASSIGN_OR_RETURN(models.memory,
                         BatchCurve::FitSegments(std::move(memory)));
  if (!process.empty()) {
    FEDLB_ASSIGN_OR_RETURN(models.process,
                           BatchCurve::FitSegments(std::move(process)));
  }
  if (!time.empty()) {
    FEDLB_ASSIGN_OR_RETURN(models.time, BatchCurve::Fit(std::move(time)));
  }
  return models;
}

BatchPrediction Predict(const DeviceProfile& profile,
                        const ProfileModels& models, int64_t batch_size) {
  BatchPrediction prediction = {.batch_size = batch_size};
  const auto read = [&](const BatchCurve& curve, Estimate& estimate) {
    if (curve.points().empty()) {
      return;
    }
    const absl::StatusOr<Estimate> predicted = curve.Predict(batch_size);
    if (predicted.ok()) {
      estimate = *predicted;
    } else {
      prediction.refusal = std::string(predicted.status().message());
    }
  };
  read(models.memory, prediction.memory_bytes);
  read(models.process, prediction.process_bytes);
  read(models.time, prediction.step_seconds);
  // An evaluation does not depend on the batch size of training. What it needs
  // beyond a step the process needs, too; not a number where nothing is known.
  const auto evaluation = static_cast<double>(profile.evaluation_bytes);
  Estimate& memory = prediction.memory_bytes;
  Estimate& process = prediction.process_bytes;
  const double beyond = std::max(0.0, evaluation - memory.value);
  for (double* bytes : {&memory.value, &memory.low, &memory.high}) {
    *bytes = *bytes < evaluation ? evaluation : *bytes;
  }
  for (double* bytes : {&process.value, &process.low, &process.high}) {
    *bytes += beyond;
  }
  prediction.epoch_seconds = Times(
      EpochSteps(profile.client_examples, batch_size), prediction.step_seconds);
  return prediction;
}

absl::StatusOr<BatchAdvice> AdviseBatch(const DeviceProfile& profile,
                                        const ProfileModels& models) {
  const double noise_scale = profile.noise.noise_scale;
  if (profile.largest_safe_batch < 1) {
    return OutOfMemoryError(absl::StrCat(
        "no batch size fits: batch 1 needs ",
        profile.points.empty() ? 0 : profile.points[0].memory_bytes,
        " bytes of ", profile.memory_budget));
  }
  if (models.time.points().empty()) {
    return absl::InvalidArgumentError(
        "the profile holds no times, without which there is no advice");
  }
  const int64_t timed = models.time.points().back().first;
  // More than a client holds cannot be in a batch.
  const int64_t smallest = models.time.points().front().first;
  const int64_t largest = std::max(
      smallest,
      std::min({profile.largest_safe_batch, timed,
                static_cast<int64_t>(std::min(
                    std::ceil(profile.client_examples), kManyExamples))}));
  BatchAdvice advice;
  advice.noise_scale = noise_scale;
  std::vector<std::pair<int64_t, double>> seconds_per_example;
  for (const int64_t batch_size : Grid(smallest, largest)) {
    FEDLB_ASSIGN_OR_RETURN(const Estimate step,
                           models.time.Predict(batch_size));
    seconds_per_example.emplace_back(
        batch_size, step.value / static_cast<double>(batch_size));
  }
  advice.diminishing_from = largest;
  for (const auto& [batch_size, seconds] : seconds_per_example) {
    if (batch_size > timed / 2) {
      break;  // twice as much was not measured
    }
    const int64_t doubled = 2 * batch_size;
    FEDLB_ASSIGN_OR_RETURN(const Estimate step, models.time.Predict(doubled));
    const double saved =
        1 - step.value / static_cast<double>(doubled) / seconds;
    if (saved < kDiminishing) {
      advice.diminishing_from = batch_size;
      break;
    }
  }

  if (std::isnan(noise_scale)) {
    advice.batch_size = advice.diminishing_from;
    for (const auto& [batch_size, seconds] : seconds_per_example) {
      advice.goodput.emplace_back(batch_size, 1 / seconds);
    }
  } else {
    // In a step over B examples each counts for 1 / (noise scale + B): Pollux'
    // efficiency without its constant.
    for (const auto& [batch_size, seconds] : seconds_per_example) {
      const double step_examples =
          static_cast<double>(profile.batches_per_step) *
          static_cast<double>(batch_size);
      advice.goodput.emplace_back(
          batch_size, 1 / (seconds * (noise_scale + step_examples)));
    }
  }
  double best = 0;
  for (const auto& [batch_size, goodput] : advice.goodput) {
    best = std::max(best, goodput);
  }
  for (auto& [batch_size, goodput] : advice.goodput) {
    goodput /= best;
    if (advice.batch_size == 0 && goodput >= kGoodEnough) {
      advice.batch_size = batch_size;
    }
  }
  advice.reason = ReasonFor(
      advice, profile.batches_per_step, largest,
      profile.largest_safe_batch == largest && !profile.largest_safe_is_limit);
  return advice;
}

}  // namespace fedlb
