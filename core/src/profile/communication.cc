#include "profile/communication.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "fedlb/status.h"

namespace fedlb {
namespace {

constexpr int64_t kProbeBytes[] = {1 << 10, 1 << 14, 1 << 18, 1 << 20, 1 << 22};
constexpr int kProbesEach = 7;
constexpr int64_t kLargestFederation = 1000000;

}  // namespace

absl::StatusOr<LinkModel> MeasureLink(Transport& transport) {
  std::vector<std::pair<int64_t, double>> points;
  for (const int64_t bytes : kProbeBytes) {
    std::vector<double> seconds;
    for (int i = 0; i < kProbesEach; ++i) {
      FEDLB_ASSIGN_OR_RETURN(const double taken, transport.Probe(bytes));
      seconds.push_back(taken);
    }
    std::nth_element(seconds.begin(), seconds.begin() + kProbesEach / 2,
                     seconds.end());
    // There and back.
    points.emplace_back(bytes, seconds[kProbesEach / 2] / 2);
  }
  FEDLB_ASSIGN_OR_RETURN(const BatchCurve line,
                         BatchCurve::FitLine(std::move(points)));
  return LinkModel{.latency_seconds = line.coefficients()[0],
                   .bytes_per_second = 1 / line.coefficients()[1]};
}

std::vector<CommunicationTime> PredictCommunication(int64_t model_bytes,
                                                    const LinkModel& link,
                                                    double compression,
                                                    double step_seconds) {
  const auto down = static_cast<double>(model_bytes);
  const double up = down / compression;
  std::vector<CommunicationTime> times;
  for (int64_t clients = 1; clients <= kLargestFederation; clients *= 10) {
    const auto n = static_cast<double>(clients);
    CommunicationTime time = {.clients = clients};
    time.star_seconds =
        2 * link.latency_seconds + n * (down + up) / link.bytes_per_second;
    time.ring_seconds =
        2 * (n - 1) * (link.latency_seconds + up / (n * link.bytes_per_second));
    time.star_share = time.star_seconds / (time.star_seconds + step_seconds);
    time.ring_share = time.ring_seconds / (time.ring_seconds + step_seconds);
    times.push_back(time);
  }
  return times;
}

}  // namespace fedlb
