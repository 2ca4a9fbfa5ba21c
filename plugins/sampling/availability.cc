#include "sampling/availability.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "fedlb/durable_file.h"
#include "fedlb/random.h"
#include "fedlb/status.h"

namespace fedlb::sampling {
namespace {

constexpr int64_t kMaxTraceBytes = int64_t{1} << 28;

absl::Status ReadTrace(const std::string& path, Trace& trace) {
  const absl::StatusOr<std::string> text = ReadWholeFile(path, kMaxTraceBytes);
  if (!text.ok()) {
    return InputFileError(absl::StrCat("sampler.trace = \"", path,
                                       "\": ", text.status().message()));
  }
  int64_t number = 0;
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    ++number;
    const absl::Status status = trace.AddLine(line);
    if (!status.ok()) {
      return InputFileError(
          absl::StrCat(path, ":", number, ": ", status.message()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

ParamSchema<AvailabilityOptions> Availability::Schema() {
  return ParamSchema<Options>()
      .Add("available", &Options::available,
           "Who is available when, as lines \"CLIENTS: ROUNDS\" of numbers and "
           "ranges: \"0-4, 7: 0-99, 200-\" makes clients 0 to 4 and 7 "
           "available in rounds 0 to 99 and from 200 on. Clients without a "
           "line never are; without any line everybody always is.")
      .Add("trace", &Options::trace,
           "File with such lines, in addition to those of available; # begins "
           "a comment.")
      .Add("period", &Options::period,
           "Rounds in a day. A client is available for one stretch of it that "
           "begins at a random time of its own, the same every day; 0 for no "
           "days.",
           InClosed(0, 1e9))
      .Add("uptime", &Options::uptime,
           "Share of the day for which a client is available, at least one "
           "round. Counts with period only.",
           InLeftOpen(0, 1));
}

absl::StatusOr<std::unique_ptr<Availability>> Availability::Create(
    const Options& options, const ComponentContext& context) {
  Trace trace(context.num_clients);
  for (size_t i = 0; i < options.available.size(); ++i) {
    const absl::Status status = trace.AddLine(options.available[i]);
    if (!status.ok()) {
      return ConfigError(absl::StrCat("sampler.available, line ", i + 1, ": ",
                                      status.message()));
    }
  }
  if (!options.trace.empty()) {
    FEDLB_RETURN_IF_ERROR(ReadTrace(options.trace, trace));
  }
  return std::unique_ptr<Availability>(
      new Availability(options, context.seed, std::move(trace)));
}

bool Availability::IsAwake(int64_t client, int64_t round) const {
  if (options_.period == 0) {
    return true;
  }
  const int64_t awake = std::max<int64_t>(
      1, std::llround(options_.uptime * static_cast<double>(options_.period)));
  RandomStream stream(
      {.seed = seed_, .purpose = "availability_day", .client = client});
  const auto start = static_cast<int64_t>(
      stream.Below(static_cast<uint64_t>(options_.period)));
  return (round % options_.period + start) % options_.period < awake;
}

absl::StatusOr<std::vector<int64_t>> Availability::DoSample(
    const SamplingRequest& request) {
  const auto num_clients = static_cast<int64_t>(request.num_examples.size());
  std::vector<int64_t> available;
  for (int64_t client = 0; client < num_clients; ++client) {
    if (trace_.IsAvailable(client, request.round) &&
        IsAwake(client, request.round)) {
      available.push_back(client);
    }
  }
  if (available.empty()) {
    return DeadlineError(absl::StrCat(
        "none of the ", num_clients, " clients is available in round ",
        request.round,
        "; make the trace of [sampler] longer, raise sampler.uptime, or lower "
        "rounds"));
  }
  const auto count = static_cast<int64_t>(available.size());
  if (count <= request.cohort_size) {
    return available;
  }
  RandomStream stream(
      {.seed = seed_, .purpose = "cohort", .round = request.round});
  std::vector<int64_t> cohort =
      stream.SampleWithoutReplacement(count, request.cohort_size);
  for (int64_t& member : cohort) {
    member = available[static_cast<size_t>(member)];
  }
  std::sort(cohort.begin(), cohort.end());
  return cohort;
}

}  // namespace fedlb::sampling
