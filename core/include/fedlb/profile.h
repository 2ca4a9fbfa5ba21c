// The profile of a device: what training steps cost there at each batch size,
// and which batch size to use.

#ifndef FEDLB_PROFILE_H_
#define FEDLB_PROFILE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/export.h"
#include "fedlb/memory.h"

namespace fedlb {

// A prediction and the interval in which what is measured should lie, all in
// one unit.
struct Estimate {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

  double value = kNone;
  double low = kNone;
  double high = kNone;
};

// What was measured at one batch size.
struct ProfilePoint {
  int64_t batch_size = 0;
  // The most that the tensors of the process held at once, in bytes: all of
  // them, with what workers that were idle would have held besides, and each
  // tag's own peak as it was measured.
  int64_t memory_bytes = 0;
  std::array<int64_t, kNumMemoryTags> tag_bytes{};
  // The most that the process had resident (VmHWM), idle workers as above and
  // without what other batch sizes left; 0 where the system does not tell.
  int64_t process_bytes = 0;
  // Of the timed steps, in seconds: medians of many, the least of a few;
  // num_timed 0 where there is none.
  // A step is a whole round of one client in BSP, with the server's part of it,
  // and a local step otherwise.
  int64_t num_timed = 0;
  double step_seconds = 0;
  double data_seconds = 0;
  double forward_seconds = 0;
  double backward_seconds = 0;
  double optimizer_seconds = 0;
};

// How memory or time grows with the batch size.
//
//   linear      a + s b                          (paper, Eq. 2 and 3)
//   knee        a + s b + t max(0, b - k)
//   segments    straight lines between the measured points
//
// The curve with the least error under leave-one-out cross-validation is taken,
// where the simpler one wins a draw. Beyond the largest point the last slope
// goes on, up to kLargestExtrapolation times that batch size.
class FEDLB_API BatchCurve {
 public:
  static constexpr double kLargestExtrapolation = 4;

  enum class Shape { kLinear, kKnee, kSegments };

  BatchCurve() = default;
  // A line, whatever the others' error.
  static absl::StatusOr<BatchCurve> FitLine(
      std::vector<std::pair<int64_t, double>> points);
  // From points (batch size, value), the batch sizes distinct, the values
  // positive. Errors count in relation to the values.
  //
  // kInvalidArgument: no points, or two of one batch size.
  static absl::StatusOr<BatchCurve> Fit(
      std::vector<std::pair<int64_t, double>> points);
  // Segments whatever the others' error, for values without noise that come
  // from lines which meet: each segment may bend once, where its neighbours'
  // lines meet.
  static absl::StatusOr<BatchCurve> FitSegments(
      std::vector<std::pair<int64_t, double>> points);

  // kInvalidArgument: a batch size below 1, or so far beyond the largest
  // measured one that nothing is known; with a single point any other.
  absl::StatusOr<Estimate> Predict(int64_t batch_size) const;

  // The largest batch size up to `limit` whose Estimate::high is at most
  // `bound`, 0 where there is none. Beyond the extrapolation the answer is the
  // largest batch size that can be predicted.
  int64_t LargestWithin(double bound, int64_t limit) const;

  Shape shape() const { return shape_; }
  static absl::string_view ShapeName(Shape shape);
  // Of linear and knee: a, s, t and k as above; t and k 0 for linear.
  const std::array<double, 4>& coefficients() const { return coefficients_; }
  const std::vector<std::pair<int64_t, double>>& points() const {
    return points_;
  }
  // The root mean square of the relative errors under cross-validation, NaN
  // with fewer than three points. For segments half of it, since a left-out
  // point is bridged by one twice as long as those in use.
  double cross_validation_error() const { return error_; }
  // By point: (fit - measured) / measured.
  std::vector<double> Residuals() const;

 private:
  double Value(double batch_size) const;

  std::vector<std::pair<int64_t, double>> points_;
  Shape shape_ = Shape::kLinear;
  std::array<double, 4> coefficients_{};
  double error_ = 0;
  bool exact_ = false;  // the points are free of noise
};

// How noisy gradients were in the first rounds of training.
struct NoiseProfile {
  struct Point {
    int64_t round = 0;
    // Norms of the gradient over one small batch (the root of the mean square)
    // and over all batches of the round together.
    double small_norm = 0;
    double large_norm = 0;
    double noise_scale = 0;  // averaged so far
  };
  struct Layer {
    std::string name;
    double noise_scale = 0;
  };

  int64_t rounds = 0;  // 0: not measured
  int64_t num_clients = 0;
  int64_t batch_size = 0;  // of the small batches, two for each client
  // tr(Sigma) / |G|^2 of one example within a client, in examples, and the mean
  // of |G_k - G|^2 / |G|^2 over clients. NaN where no signal was found.
  double noise_scale = std::numeric_limits<double>::quiet_NaN();
  double drift_share = std::numeric_limits<double>::quiet_NaN();
  std::vector<Layer> layers;
  std::vector<Point> curve;
};

// A message of n bytes takes latency + n / bandwidth (Hockney's alpha and
// beta), each way. NaN where unknown.
struct LinkModel {
  double latency_seconds = std::numeric_limits<double>::quiet_NaN();
  double bytes_per_second = std::numeric_limits<double>::quiet_NaN();
};

// Everything that one device told about itself.
struct DeviceProfile {
  std::string model;
  std::string dataset;
  std::string optimizer;
  std::string precision;
  std::string device;  // "cpu", and which
  int64_t parameters = 0;
  int64_t model_bytes = 0;  // weights and buffers, as they travel
  int64_t workers = 0;      // clients that train at a time
  int64_t train_examples = 0;
  // Of one client, on average: an epoch.
  double client_examples = 0;
  // Held between steps, whatever the batch size.
  int64_t resident_bytes = 0;
  // The most that an evaluation held.
  int64_t evaluation_bytes = 0;
  // Batches behind one optimizer step: the cohort in BSP, 1 with local steps.
  int64_t batches_per_step = 1;
  std::vector<ProfilePoint> points;  // by batch size
  NoiseProfile noise;
  // Of the transport, where it measures itself.
  LinkModel link;
  // Training steps that were run, and what all of it took.
  int64_t probe_steps = 0;
  double probe_seconds = 0;
  // What it was asked to stay within; 0 for no bound.
  int64_t memory_budget = 0;   // of tensors
  int64_t process_budget = 0;  // of the process: the machine or its cgroup
  // The largest batch size that fits the budgets, and whether a step of it was
  // run. 0: not even one example does.
  int64_t largest_safe_batch = 0;
  bool largest_safe_was_run = false;
  // Nothing larger was looked at: the examples end there, or --max-batch.
  bool largest_safe_is_limit = false;
};

// The models behind a profile.
struct FEDLB_API ProfileModels {
  BatchCurve memory;   // bytes of tensors
  BatchCurve process;  // bytes of the process; without points where unknown
  BatchCurve time;     // seconds of a step; without points where none was timed

  static absl::StatusOr<ProfileModels> Fit(const DeviceProfile& profile);
};

// What is not known is NaN, and `refusal` says why.
struct BatchPrediction {
  int64_t batch_size = 0;
  Estimate memory_bytes;
  Estimate process_bytes;
  Estimate step_seconds;
  Estimate epoch_seconds;  // over client_examples
  std::string refusal;
};

FEDLB_API BatchPrediction Predict(const DeviceProfile& profile,
                                  const ProfileModels& models,
                                  int64_t batch_size);

// Which batch size to use, and why.
struct BatchAdvice {
  int64_t batch_size = 0;
  // The batch size from which on doubling it makes an epoch less than 5 %
  // shorter.
  int64_t diminishing_from = 0;
  // Examples at which noise and signal of a gradient are equal, NaN where it
  // was not measured: then nothing is known of what a larger batch costs in
  // accuracy, and diminishing returns alone decide.
  double noise_scale = std::numeric_limits<double>::quiet_NaN();
  // By batch size on a grid: throughput times statistical efficiency, relative
  // to the best (Pollux, OSDI '21).
  std::vector<std::pair<int64_t, double>> goodput;
  std::string reason;  // a sentence
};

// kOutOfMemory when nothing fits; kInvalidArgument without times.
FEDLB_API absl::StatusOr<BatchAdvice> AdviseBatch(const DeviceProfile& profile,
                                                  const ProfileModels& models);

// What a round of `clients` clients takes to move the model.
struct CommunicationTime {
  int64_t clients = 0;
  // Over a star, whose server has one link for all, and by a ring all-reduce:
  //   star  2 latency + N (M + M / r) / bandwidth
  //   ring  2 (N - 1) (latency + M / (r N bandwidth))
  // with M the bytes of the model and r the compression ratio of what clients
  // send.
  double star_seconds = 0;
  double ring_seconds = 0;
  // Of a round with one step of `step_seconds`.
  double star_share = 0;
  double ring_share = 0;
};

// For 1, 10, 100, ... 1,000,000 clients.
FEDLB_API std::vector<CommunicationTime> PredictCommunication(
    int64_t model_bytes, const LinkModel& link, double compression,
    double step_seconds);

// A global batch shared out so that devices of different speed finish a step at
// the same time, each within its memory.
struct BatchSplit {
  struct Share {
    int64_t batch_size = 0;
    int64_t largest_batch = 0;  // that the device could do
    double step_seconds = 0;
    double weight = 0;  // of its gradient: its part of the global batch
  };
  std::vector<Share> shares;  // in the order of the profiles
  double step_seconds = 0;    // of the slowest
  // The same with one batch size for all; NaN where one of them cannot do it.
  double equal_step_seconds = 0;
  // By which the slowest is done, the error of its prediction allowed for.
  double deadline_seconds = 0;
};

// kInputFile: profiles of different models, or without times; kOutOfMemory:
// more than the devices can do together; kUsage: fewer examples than devices.
FEDLB_API absl::StatusOr<BatchSplit> SplitBatch(
    const std::vector<DeviceProfile>& profiles, int64_t global_batch);

// A TOML fragment with the advice that `fedlb train --config` takes. That of a
// split makes one client of each device and has the clock of [simulation] run
// at their speeds.
FEDLB_API std::string PrintAdvice(const BatchAdvice& advice);
FEDLB_API std::string PrintAdvice(const BatchSplit& split);

// A page with what was measured, the fits and their intervals: one HTML file
// that loads nothing from elsewhere.
FEDLB_API absl::StatusOr<std::string> RenderProfileReport(
    const DeviceProfile& profile);

struct ProfileOptions {
  // The largest batch size to look at; 0 for as many as fit, steps of which
  // take seconds.
  int64_t max_batch = 0;
  // Batch sizes up to this are timed.
  int64_t max_timed_batch = 1024;
  bool time = true;
  // Rounds of training to measure the gradient noise over, 0 for none.
  int64_t noise_rounds = 0;
  const std::atomic<int>* stop = nullptr;
  // Which of how many measurements, about, is begun, and of what.
  std::function<void(int64_t number, int64_t planned, const std::string& what)>
      on_progress;
};

// A profile as JSON, and back: the object itself, or a result of `fedlb profile
// --format json`, whose `data` it is part of.
//
// kInputFile: no such JSON; the message names the key.
FEDLB_API std::string PrintDeviceProfile(const DeviceProfile& profile);
FEDLB_API absl::StatusOr<DeviceProfile> ParseDeviceProfile(
    absl::string_view json);

}  // namespace fedlb

#endif  // FEDLB_PROFILE_H_
