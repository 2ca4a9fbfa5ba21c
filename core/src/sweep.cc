#include "fedlb/sweep.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "fedlb/config.h"
#include "fedlb/durable_file.h"
#include "fedlb/param_schema.h"
#include "fedlb/status.h"
#include "report/run_history.h"

namespace fedlb {
namespace {

constexpr size_t kMaxSeeds = 10'000;
constexpr size_t kMaxSettings = 10'000;
constexpr int64_t kMaxStudyBytes = 1 << 20;
constexpr size_t kLastEvaluations = 3;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// `text` at the commas that stand outside of brackets, braces and quotes.
std::vector<std::string> SplitValues(absl::string_view text) {
  std::vector<std::string> values(1);
  int depth = 0;
  char quote = 0;
  for (const char c : text) {
    if (quote != 0) {
      quote = c == quote ? 0 : quote;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (c == ',' && depth == 0) {
      values.emplace_back();
      continue;
    }
    values.back() += c;
  }
  return values;
}

// The study file as it is written.
struct StudyMethod {
  std::string name;
  std::vector<std::string> set;
};

struct Study {
  std::vector<std::string> config;
};

ParamSchema<StudyMethod> MethodSchema() {
  return ParamSchema<StudyMethod>()
      .Add("name", &StudyMethod::name, "What the table calls the method.")
      .Add("set", &StudyMethod::set,
           "Its settings, with lists of values where several are tried.");
}

// Seeds written as "1..5", 3 or [1, 2].
absl::StatusOr<std::vector<int64_t>> SeedsOf(const ConfigValue& value) {
  std::string text;
  if (const auto* as_text = value.As<std::string>()) {
    text = *as_text;
  } else if (const auto* list = value.As<ConfigValue::Array>()) {
    text = absl::StrJoin(*list, ",", [](std::string* out, const auto& seed) {
      absl::StrAppend(out, seed.ToString());
    });
  } else {
    text = value.ToString();
  }
  absl::StatusOr<std::vector<int64_t>> seeds = ParseSeeds(text);
  return seeds.ok()
             ? seeds
             : ConfigError(Annotate(seeds.status(), value.origin()).message());
}

absl::StatusOr<std::vector<SweepMethod>> MethodsOf(const ConfigValue& value) {
  std::vector<SweepMethod> methods;
  const auto* list = value.As<ConfigValue::Array>();
  if (list == nullptr || list->empty()) {
    return ConfigError(absl::StrCat(value.origin(),
                                    ": method must be a list of tables, "
                                    "[[method]]"));
  }
  std::set<std::string> names;
  for (const ConfigValue& item : *list) {
    const auto* table = item.As<ConfigTable>();
    if (table == nullptr) {
      return ConfigError(
          absl::StrCat(item.origin(), ": a method must be a table"));
    }
    FEDLB_ASSIGN_OR_RETURN(StudyMethod method, MethodSchema().Parse(*table));
    if (method.name.empty() || !names.insert(method.name).second) {
      return ConfigError(absl::StrCat(
          table->origin(), ": every method needs a name of its own; got \"",
          method.name, "\""));
    }
    methods.push_back({std::move(method.name), std::move(method.set)});
  }
  return methods;
}

double LastMean(const std::vector<double>& values) {
  const size_t count = std::min(kLastEvaluations, values.size());
  double sum = 0;
  for (size_t i = values.size() - count; i < values.size(); ++i) {
    sum += values[i];
  }
  return count == 0 ? kNone : sum / static_cast<double>(count);
}

std::vector<double> Accuracies(const SweepRun& run,
                               double SweepPoint::*accuracy) {
  std::vector<double> values;
  for (const SweepPoint& point : run.points) {
    if (std::isfinite(point.*accuracy)) {
      values.push_back(point.*accuracy);
    }
  }
  return values;
}

// The newest test accuracy with `position` not beyond `limit`.
double AccuracyAt(const SweepRun& run, double SweepPoint::*position,
                  double limit) {
  double accuracy = kNone;
  for (const SweepPoint& point : run.points) {
    if (point.*position <= limit && std::isfinite(point.test_accuracy)) {
      accuracy = point.test_accuracy;
    }
  }
  return accuracy;
}

// The most of `position` that every run reached.
double CommonEnd(const std::vector<SweepResult>& results,
                 double SweepPoint::*position) {
  double end = std::numeric_limits<double>::infinity();
  for (const SweepResult& result : results) {
    for (const SweepRun& run : result.runs) {
      if (!run.points.empty()) {
        end = std::min(end, run.points.back().*position);
      }
    }
  }
  return std::isfinite(end) ? end : 0;
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> ParseSeeds(absl::string_view text) {
  const auto refuse = [text](absl::string_view why) {
    return ConfigError(absl::StrCat("seeds \"", text, "\": ", why,
                                    "; write them like 1..5 or 1,2,3"));
  };
  std::vector<int64_t> seeds;
  std::set<int64_t> seen;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    const std::vector<absl::string_view> ends = absl::StrSplit(part, "..");
    int64_t first = 0;
    int64_t last = 0;
    if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &first) ||
        !absl::SimpleAtoi(ends.back(), &last) || first < 0 || last < first) {
      return refuse(
          absl::StrCat("\"", part, "\" is neither a seed nor a range"));
    }
    if (last - first >= static_cast<int64_t>(kMaxSeeds)) {
      return refuse("too many");
    }
    for (int64_t i = 0; i <= last - first; ++i) {
      const int64_t seed = first + i;
      if (!seen.insert(seed).second) {
        return refuse(absl::StrCat(seed, " is named twice"));
      }
      seeds.push_back(seed);
    }
    if (seeds.size() > kMaxSeeds) {
      return refuse("too many");
    }
  }
  return seeds;
}

absl::StatusOr<Sweep> ReadSweepFile(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadWholeFile(path, kMaxStudyBytes);
  if (!text.ok()) {
    return ConfigError(text.status().message());
  }
  FEDLB_ASSIGN_OR_RETURN(ConfigTable table, ParseToml(*text, path));
  Sweep sweep;
  const ConfigValue* seeds = table.Find("seeds");
  const ConfigValue* tuning = table.Find("tuning_seeds");
  const ConfigValue* methods = table.Find("method");
  if (seeds == nullptr || methods == nullptr) {
    return ConfigError(
        absl::StrCat(path, ": a study needs seeds and one [[method]] or more"));
  }
  FEDLB_ASSIGN_OR_RETURN(sweep.seeds, SeedsOf(*seeds));
  if (tuning != nullptr) {
    FEDLB_ASSIGN_OR_RETURN(sweep.tuning_seeds, SeedsOf(*tuning));
  }
  FEDLB_ASSIGN_OR_RETURN(sweep.methods, MethodsOf(*methods));
  for (const char* known : {"seeds", "tuning_seeds", "method"}) {
    table.Erase(known);
  }
  FEDLB_ASSIGN_OR_RETURN(
      Study study,
      ParamSchema<Study>()
          .Add("config", &Study::config, "Files that all runs have in common.")
          .Parse(table));
  const std::filesystem::path folder =
      std::filesystem::path(path).parent_path();
  for (const std::string& config : study.config) {
    sweep.configs.push_back((folder / config).string());
  }
  return sweep;
}

absl::StatusOr<std::vector<SweepSetting>> ExpandSettings(
    const std::vector<std::string>& sets) {
  std::vector<SweepSetting> settings(1);
  for (const std::string& set : sets) {
    const size_t equals = set.find('=');
    if (equals == std::string::npos || equals == 0) {
      return ConfigError(absl::StrCat("\"", set, "\" is not KEY=VALUE"));
    }
    const std::string key = set.substr(0, equals);
    const std::vector<std::string> values = SplitValues(set.substr(equals + 1));
    if (settings.size() * values.size() > kMaxSettings) {
      return ConfigError(absl::StrCat("more than ", kMaxSettings,
                                      " combinations of settings"));
    }
    std::vector<SweepSetting> longer;
    for (const SweepSetting& setting : settings) {
      for (const std::string& value : values) {
        const std::string assignment =
            absl::StrCat(key, "=", absl::StripAsciiWhitespace(value));
        if (assignment.size() == key.size() + 1) {
          return ConfigError(absl::StrCat("\"", set, "\" has an empty value"));
        }
        longer.push_back(setting);
        longer.back().sets.push_back(assignment);
        if (values.size() > 1) {
          absl::StrAppend(&longer.back().label,
                          setting.label.empty() ? "" : ", ", assignment);
        }
      }
    }
    settings = std::move(longer);
  }
  return settings;
}

absl::StatusOr<SweepRun> ReadSweepRun(const std::string& run_dir) {
  FEDLB_ASSIGN_OR_RETURN(const RunHistory history, ReadRunHistory(run_dir));
  SweepRun run;
  run.run_dir = run_dir;
  const std::vector<CurvePoint> test = history.curve("test_accuracy").Points();
  const std::vector<CurvePoint> validation =
      history.curve("validation_accuracy").Points();
  size_t next = 0;
  for (const CurvePoint& point : test) {
    while (next < validation.size() && validation[next].round < point.round) {
      ++next;
    }
    const bool both =
        next < validation.size() && validation[next].round == point.round;
    run.points.push_back(
        {.steps = point.steps,
         .samples = point.samples,
         .seconds = point.seconds,
         .test_accuracy = point.value,
         .validation_accuracy = both ? validation[next].value : kNone});
  }
  if (run.points.empty()) {
    return InputFileError(
        absl::StrCat(run_dir, ": the run has not been evaluated"));
  }
  return run;
}

Spread MeanAndDeviation(const std::vector<double>& values) {
  if (values.empty()) {
    return {};
  }
  const auto count = static_cast<double>(values.size());
  double mean = 0;
  for (const double value : values) {
    mean += value / count;
  }
  double squares = 0;
  for (const double value : values) {
    squares += (value - mean) * (value - mean);
  }
  return {mean, values.size() > 1 ? std::sqrt(squares / (count - 1)) : kNone};
}

int64_t CountDiverged(const std::vector<SweepRun>& runs) {
  return std::count_if(runs.begin(), runs.end(),
                       [](const SweepRun& run) { return run.diverged; });
}

double ValidationScore(const std::vector<SweepRun>& runs) {
  std::vector<double> scores;
  for (const SweepRun& run : runs) {
    const double score =
        LastMean(Accuracies(run, &SweepPoint::validation_accuracy));
    if (std::isfinite(score)) {
      scores.push_back(score);
    }
  }
  return MeanAndDeviation(scores).mean;
}

absl::StatusOr<size_t> ChooseSetting(
    const std::vector<std::vector<SweepRun>>& settings) {
  if (settings.size() == 1) {
    return 0;
  }
  size_t best = 0;
  bool any = false;
  for (size_t i = 0; i < settings.size(); ++i) {
    const double score = ValidationScore(settings[i]);
    const int64_t diverged = CountDiverged(settings[i]);
    if (!std::isfinite(score)) {
      if (diverged < static_cast<int64_t>(settings[i].size())) {
        return ConfigError(
            "settings are chosen on examples that are neither trained on nor "
            "tested with; set dataset.validation_fraction");
      }
      continue;  // all diverged
    }
    const int64_t fewest = CountDiverged(settings[best]);
    if (!any || diverged < fewest ||
        (diverged == fewest && score > ValidationScore(settings[best]))) {
      best = i;
      any = true;
    }
  }
  return best;
}

SweepTable Tabulate(const std::vector<SweepResult>& results) {
  SweepTable table;
  table.equal_steps = CommonEnd(results, &SweepPoint::steps);
  table.equal_samples = CommonEnd(results, &SweepPoint::samples);
  table.equal_seconds = CommonEnd(results, &SweepPoint::seconds);
  for (const SweepResult& result : results) {
    const auto spread_of = [&result](auto value_of) {
      std::vector<double> values;
      for (const SweepRun& run : result.runs) {
        const double value = value_of(run);
        if (std::isfinite(value)) {
          values.push_back(value);
        }
      }
      return MeanAndDeviation(values);
    };
    const auto at_equal = [&spread_of, &result](double SweepPoint::*position,
                                                double limit) {
      // A mean over the faster runs alone would flatter a method.
      for (const SweepRun& run : result.runs) {
        if (!run.diverged && std::isnan(AccuracyAt(run, position, limit))) {
          return Spread();
        }
      }
      return spread_of([position, limit](const SweepRun& run) {
        return AccuracyAt(run, position, limit);
      });
    };
    table.rows.push_back(
        {.method = result.method,
         .setting = result.setting,
         .runs = static_cast<int64_t>(result.runs.size()),
         .diverged = CountDiverged(result.runs),
         .validation_score = result.validation_score,
         .final_accuracy = spread_of([](const SweepRun& run) {
           const auto values = Accuracies(run, &SweepPoint::test_accuracy);
           return values.empty() ? kNone : values.back();
         }),
         .last_three = spread_of([](const SweepRun& run) {
           return LastMean(Accuracies(run, &SweepPoint::test_accuracy));
         }),
         .at_equal_steps = at_equal(&SweepPoint::steps, table.equal_steps),
         .at_equal_samples =
             at_equal(&SweepPoint::samples, table.equal_samples),
         .at_equal_seconds =
             at_equal(&SweepPoint::seconds, table.equal_seconds)});
  }
  return table;
}

}  // namespace fedlb
