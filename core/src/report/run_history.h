// What the folder of a run tells about it, read in one pass and kept small.

#ifndef FEDLB_SRC_REPORT_RUN_HISTORY_H_
#define FEDLB_SRC_REPORT_RUN_HISTORY_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/report.h"
#include "report/curve.h"

namespace fedlb {

// Prefixes of the metrics that mappers report, of the peaks of memory, and of a
// transport whose clients are elsewhere.
inline constexpr absl::string_view kMapperPrefix = "mapper.";
inline constexpr absl::string_view kPeakPrefix = "peak_bytes.";
inline constexpr absl::string_view kTransportPrefix = "transport.";
inline constexpr absl::string_view kGainKey = "mapper.gain";

struct RunHistory {
  RunSummary summary;
  std::string folder_name;
  // config.toml, run.json and partition.svg as they are, empty where they
  // cannot be read.
  std::string config_text;
  std::string record_text;
  std::string partition_picture;
  // "section.key" and value of everything in config.toml.
  std::map<std::string, std::string> settings;
  // By the metric's key; of the keys that reports show.
  std::map<std::string, Curve, std::less<>> curves;
  // The newest finite value of every such key.
  std::map<std::string, double, std::less<>> newest;
  RoundSpans critical;
  // The gain of every round, for its distribution.
  std::vector<double> gains;

  // An empty curve for a key that is not there.
  const Curve& curve(absl::string_view key) const;
};

// Lines of metrics.jsonl that are torn, longer than a megabyte, no rounds or
// not later than the rounds before them are passed over, and so are values that
// are null or not finite.
//
// kInputFile: the folder holds no run, or metrics.jsonl cannot be read.
absl::StatusOr<RunHistory> ReadRunHistory(const std::string& run_dir);

}  // namespace fedlb

#endif  // FEDLB_SRC_REPORT_RUN_HISTORY_H_
