#include "report/run_history.h"

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "fedlb/config.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"
#include "posix_file.h"

namespace fedlb {
namespace {

using nlohmann::json;

constexpr int64_t kMaxTextBytes = 4 << 20;
constexpr size_t kBlockBytes = 1 << 20;
// No line of the training loop comes near; of a longer one this much is read,
// which is no whole object.
constexpr size_t kMaxLineBytes = 1 << 20;
// A file must not make us keep a curve for each of a million names.
constexpr size_t kMaxCurves = 64;

bool IsShown(absl::string_view key) {
  static const auto& keys =
      *new absl::flat_hash_set<absl::string_view>{"client_accuracy_max",
                                                  "client_accuracy_mean",
                                                  "client_accuracy_min",
                                                  "client_gradient_norm",
                                                  "dropped",
                                                  "evaluation_seconds",
                                                  "gradient_change",
                                                  "gradient_norm",
                                                  "lr",
                                                  "noise_scale",
                                                  "round_seconds",
                                                  "server_seconds",
                                                  "survivors",
                                                  "test_accuracy",
                                                  "test_accuracy_top5",
                                                  "test_loss",
                                                  "train_accuracy",
                                                  "train_loss",
                                                  "validation_accuracy",
                                                  "validation_loss",
                                                  "virtual_seconds"};
  return keys.contains(key) || absl::StartsWith(key, kMapperPrefix) ||
         absl::StartsWith(key, kPeakPrefix) ||
         absl::StartsWith(key, kTransportPrefix);
}

// Calls `take` with every line, without its end. The last one may have none.
absl::Status ForEachLine(const std::string& path,
                         absl::FunctionRef<void(absl::string_view)> take) {
  const auto failure = [&path](absl::string_view reason) {
    return InputFileError(absl::StrCat("cannot read ", path, ": ", reason));
  };
  // Opening a pipe would wait for its writer.
  const FileDescriptor file(
      open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat information;
  if (!file.ok() || fstat(file.get(), &information) != 0) {
    return failure(SystemError());
  }
  if (!S_ISREG(information.st_mode)) {
    return failure("it is not a regular file");
  }
  std::string block(kBlockBytes, '\0');
  std::string line;
  const auto extend = [&line](absl::string_view part) {
    absl::StrAppend(&line, part.substr(0, kMaxLineBytes - line.size()));
  };
  while (true) {
    const ssize_t count = read(file.get(), block.data(), block.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return failure(SystemError());
    }
    if (count == 0) {
      break;
    }
    absl::string_view rest(block.data(), static_cast<size_t>(count));
    for (size_t end = rest.find('\n'); end != absl::string_view::npos;
         end = rest.find('\n')) {
      extend(rest.substr(0, end));
      take(line);
      line.clear();
      rest.remove_prefix(end + 1);
    }
    extend(rest);
  }
  take(line);
  return absl::OkStatus();
}

// Null and text stand for values that are not finite.
double NumberAt(const json& round, const char* key,
                double otherwise = RunSummary::kNone) {
  const auto found = round.find(key);
  if (found == round.end() || !found->is_number()) {
    return otherwise;
  }
  const auto value = found->get<double>();
  return std::isfinite(value) ? value : otherwise;
}

int64_t CountAt(const json& round, const char* key, int64_t otherwise) {
  const auto found = round.find(key);
  return found != round.end() && found->is_number_integer()
             ? found->get<int64_t>()
             : otherwise;
}

class RoundReader {
 public:
  explicit RoundReader(RunHistory& history) : history_(history) {}

  void TakeLine(absl::string_view line) {
    const json round = json::parse(line.begin(), line.end(), /*cb=*/nullptr,
                                   /*allow_exceptions=*/false);
    RunSummary& summary = history_.summary;
    if (!round.is_object()) {
      summary.damaged_lines += line.empty() ? 0 : 1;
      return;
    }
    const auto type = round.find("type");
    if (type == round.end() || *type != "round") {
      return;
    }
    const int64_t number = CountAt(round, "round", 0);
    if (number > summary.rounds) {
      TakeRound(number, round);
    } else {
      ++summary.damaged_lines;
    }
  }

  // What follows from all rounds.
  void Finish() {
    RunSummary& summary = history_.summary;
    const auto newest = [this](absl::string_view key) {
      const auto found = history_.newest.find(key);
      return found == history_.newest.end() ? RunSummary::kNone : found->second;
    };
    summary.virtual_seconds = newest("virtual_seconds");
    summary.train_loss = newest("train_loss");
    summary.train_accuracy = newest("train_accuracy");
    summary.test_loss = newest("test_loss");
    summary.test_accuracy = newest("test_accuracy");
    summary.test_accuracy_top5 = newest("test_accuracy_top5");
    summary.validation_loss = newest("validation_loss");
    summary.validation_accuracy = newest("validation_accuracy");
    summary.peak_bytes = newest("peak_bytes.total");
    if (const Curve& accuracy = history_.curve("test_accuracy");
        !accuracy.empty()) {
      summary.best_accuracy = accuracy.highest().value;
      summary.best_round = accuracy.highest().round;
    }
    if (scaled_rounds_ > 0) {
      summary.scaled_share = scaled_ / static_cast<double>(scaled_rounds_);
    }
  }

 private:
  void TakeRound(int64_t number, const json& round) {
    RunSummary& summary = history_.summary;
    summary.rounds = number;
    summary.planned_rounds = CountAt(round, "rounds", summary.planned_rounds);
    summary.steps = CountAt(round, "steps", summary.steps);
    summary.samples = CountAt(round, "samples", summary.samples);
    summary.seconds = NumberAt(round, "seconds", summary.seconds);
    summary.evaluation_seconds += NumberAt(round, "evaluation_seconds", 0);
    CurvePoint point = {
        .round = number,
        .steps = static_cast<double>(summary.steps),
        .samples = static_cast<double>(summary.samples),
        .seconds = summary.seconds,
        .virtual_seconds = NumberAt(round, "virtual_seconds", 0)};
    for (const auto& [key, value] : round.items()) {
      if (!value.is_number() || !IsShown(key)) {
        continue;
      }
      point.value = value.get<double>();
      if (std::isfinite(point.value)) {
        TakeValue(key, point);
      }
    }
    // A mean over clients when the detector is theirs.
    if (NumberAt(round, "critical", 0) >= 0.5) {
      history_.critical.Add(number);
    }
    if (const double scaled = NumberAt(round, "mapper.scaled");
        !std::isnan(scaled)) {
      scaled_ += scaled;
      ++scaled_rounds_;
    }
  }

  void TakeValue(const std::string& key, const CurvePoint& point) {
    if (key == kGainKey) {
      history_.gains.push_back(point.value);
    }
    const bool known = history_.curves.contains(key);
    if (known || history_.curves.size() < kMaxCurves) {
      history_.curves[key].Add(point);
      history_.newest[key] = point.value;
    }
  }

  RunHistory& history_;
  double scaled_ = 0;
  int64_t scaled_rounds_ = 0;
};

void ListSettings(const ConfigTable& table, const std::string& prefix,
                  std::map<std::string, std::string>& settings) {
  for (const auto& [key, value] : table.values()) {
    const std::string path = absl::StrCat(prefix, key);
    if (const auto* inner = value.As<ConfigTable>()) {
      ListSettings(*inner, absl::StrCat(path, "."), settings);
    } else {
      settings[path] = value.ToString();
    }
  }
}

// Also of "." and "..".
std::string FolderName(const std::string& run_dir) {
  std::error_code error;
  const std::string full = std::filesystem::canonical(run_dir, error).string();
  return NameOf(error ? run_dir : full);
}

}  // namespace

const Curve& RunHistory::curve(absl::string_view key) const {
  static const auto& none = *new Curve();
  const auto found = curves.find(key);
  return found == curves.end() ? none : found->second;
}

absl::StatusOr<RunHistory> ReadRunHistory(const std::string& run_dir) {
  const std::string metrics = absl::StrCat(run_dir, "/metrics.jsonl");
  const auto config =
      ReadWholeFile(absl::StrCat(run_dir, "/config.toml"), kMaxTextBytes);
  const bool has_metrics = access(metrics.c_str(), F_OK) == 0;
  if (!has_metrics && !config.ok()) {
    return InputFileError(
        absl::StrCat(run_dir,
                     " is not the folder of a run: neither metrics.jsonl nor "
                     "config.toml can be read in it"));
  }
  RunHistory history;
  history.summary.run_dir = run_dir;
  history.folder_name = FolderName(run_dir);
  if (config.ok()) {
    history.config_text = *config;
    if (const auto table = ParseToml(*config, "config.toml"); table.ok()) {
      ListSettings(*table, "", history.settings);
      if (const ConfigValue* name = table->Find("name");
          name != nullptr && name->As<std::string>() != nullptr) {
        history.summary.name = *name->As<std::string>();
      }
      if (const ConfigValue* rounds = table->Find("rounds");
          rounds != nullptr && rounds->As<int64_t>() != nullptr) {
        history.summary.planned_rounds = *rounds->As<int64_t>();
      }
    }
  }
  if (auto record =
          ReadWholeFile(absl::StrCat(run_dir, "/run.json"), kMaxTextBytes);
      record.ok()) {
    history.record_text = *std::move(record);
  }
  if (auto picture =
          ReadWholeFile(absl::StrCat(run_dir, "/partition.svg"), kMaxTextBytes);
      picture.ok()) {
    history.partition_picture = *std::move(picture);
  }
  RoundReader reader(history);
  if (has_metrics) {
    FEDLB_RETURN_IF_ERROR(ForEachLine(
        metrics, [&reader](absl::string_view line) { reader.TakeLine(line); }));
  }
  reader.Finish();
  return history;
}

}  // namespace fedlb
