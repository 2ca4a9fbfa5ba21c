#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "config_loading.h"
#include "fedlb/experiment.h"
#include "fedlb/experiment_config.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"
#include "table.h"
#include "teacher_fit_command.h"
#include "terminal.h"
#include "train_output.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

// Of the folder of a student's run, after the teacher's file.
constexpr char kRunSuffix[] = ".run";

// The mapper's numbers whose names begin with `prefix`, without it.
Json WithPrefix(const ScalarMap& scalars, absl::string_view prefix) {
  Json data = Json::object();
  for (const auto& [key, value] : scalars) {
    absl::string_view name = key;
    if (absl::ConsumePrefix(&name, prefix)) {
      data[std::string(name)] = value;
    }
  }
  return data;
}

double NumberAt(const Json& data, const char* key) {
  const auto found = data.find(key);
  return found != data.end() ? found->get<double>() : std::nan("");
}

std::string HeldoutText(const Json& heldout) {
  const auto number = [&heldout](const char* key) {
    return FormatNumber(NumberAt(heldout, key), 3);
  };
  return FormatTable(
      {"PREDICTOR OF THE TARGET", "R2", "COSINE", "NORM RATIO"},
      {{"teacher, least squares", number("r2_mse"), "", ""},
       {"teacher, norm matched", number("r2_norm_match"), number("cosine"),
        number("norm_ratio")},
       {"gradient", number("r2_identity"), number("cosine_identity"), ""},
       {"gradient times K", number("r2_small_steps"), number("cosine_identity"),
        ""},
       {"gradient times the best constant", number("r2_constant_gain"),
        number("cosine_identity"), ""},
       {"gradient times the best for each pair", number("r2_oracle_gain"),
        number("cosine_identity"), ""},
       {"the same steps in another order", "", number("ceiling_cosine"), ""}});
}

// Settings that make a fit of a configuration. They come before what --set
// gives, which wins.
std::vector<std::string> FitSettings(const TeacherFitFlags& flags) {
  const auto text = [](const std::string& value) {
    return ConfigValue(value).ToString();
  };
  std::vector<std::string> sets = {"sync_policy.name=bsp",
                                   "gradient_mapper.name=teacher",
                                   "gradient_mapper.scope=server"};
  if (!flags.pairs.empty()) {
    sets.push_back(absl::StrCat("gradient_mapper.pairs=", text(flags.pairs)));
    return sets;
  }
  sets.insert(sets.end(),
              {"gradient_mapper.refit=every", "gradient_mapper.reorder=true"});
  if (!flags.record.empty()) {
    sets.push_back(absl::StrCat("gradient_mapper.record=", text(flags.record)));
  }
  return sets;
}

// Writes the teacher and says how good it is. `lines` are about the student.
absl::Status Finish(
    const Experiment& experiment, const ScalarMap& mapper,
    const std::string& output, absl::string_view how_to_get_pairs,
    const std::vector<std::pair<std::string, std::string>>& lines,
    CommandResult& result) {
  const Json heldout = WithPrefix(mapper, "heldout.");
  if (heldout.empty()) {
    return ConfigError(absl::StrCat(
        "too few pairs to fit and score a teacher: ", how_to_get_pairs));
  }
  FEDLB_RETURN_IF_ERROR(experiment.SaveMapper(output));
  result.data["teacher"] = output;
  result.data["heldout"] = heldout;
  result.data["fit"] = WithPrefix(mapper, "fit.");

  std::vector<std::pair<std::string, std::string>> text = {
      {"teacher", Printable(output)},
      {"held-out pairs", FormatNumber(NumberAt(heldout, "pairs"))}};
  text.insert(text.end(), lines.begin(), lines.end());
  for (const auto& [name, value] : result.data["fit"].items()) {
    text.emplace_back(name, FormatNumber(value.get<double>(), 4));
  }
  result.text = absl::StrCat(HeldoutText(heldout), "\n", FormatPairs(text));
  return absl::OkStatus();
}

}  // namespace

absl::Status RunTeacherFit(const TeacherFitFlags& flags,
                           CommandContext& context, CommandResult& result) {
  const bool resume = !flags.resume.empty();
  std::string output = flags.output;
  if (output.empty() && absl::EndsWith(flags.resume, kRunSuffix)) {
    output = std::string(absl::StripSuffix(flags.resume, kRunSuffix));
  } else if (output.empty()) {
    output = "teacher.safetensors";
  }
  ConfigFlags settings = flags.config;
  if (resume) {
    if (!settings.configs.empty()) {
      return UsageError(
          "--resume takes the configuration from the run's folder; leave out "
          "--config");
    }
    FEDLB_ASSIGN_OR_RETURN(std::string path,
                           FindRunConfig(flags.resume, "--resume"));
    settings.configs = {std::move(path)};
  } else {
    const std::vector<std::string> sets = FitSettings(flags);
    settings.sets.insert(settings.sets.begin(), sets.begin(), sets.end());
  }
  ComponentRegistry registry;
  FEDLB_ASSIGN_OR_RETURN(
      const ExperimentConfig config,
      LoadExperimentConfig(settings, context.flags, registry));
  FEDLB_ASSIGN_OR_RETURN(
      const std::unique_ptr<Experiment> experiment,
      Experiment::Create(config, registry, context.terminal));
  if (flags.dry_run) {
    FEDLB_ASSIGN_OR_RETURN(const ExperimentPlan plan,
                           experiment->Plan(&context.stop));
    DescribePlan(plan, result);
    return absl::OkStatus();
  }

  if (!flags.pairs.empty()) {
    FEDLB_ASSIGN_OR_RETURN(const ScalarMap fitted, experiment->FitMapper());
    return Finish(*experiment, fitted, output,
                  "--pairs needs a folder with a few more of them", {},
                  result);
  }

  const std::string run_dir = resume ? flags.resume
                              : !flags.run_dir.empty()
                                  ? flags.run_dir
                                  : absl::StrCat(output, kRunSuffix);
  const TrainOptions options = OptionsFor(run_dir, resume, context);
  result.data["run_dir"] = options.run_dir;
  context.terminal.Info(absl::StrCat("student's run: ", options.run_dir));
  FEDLB_ASSIGN_OR_RETURN(const TrainResult run, experiment->Train(options));

  const auto apply = run.mapper.find("mean_seconds");
  const double apply_ms =
      apply == run.mapper.end() ? std::nan("") : 1000 * apply->second;
  const double step_ms = 1000 * run.seconds / static_cast<double>(run.rounds);
  result.data["rounds"] = run.rounds;
  result.data["apply_ms"] = apply_ms;
  result.data["step_ms"] = step_ms;
  result.data["samples"] = run.samples;
  result.data["test_accuracy"] = run.test.accuracy;
  return Finish(
      *experiment, run.mapper, output,
      absl::StrCat("set rounds to 20 or more (", run.rounds,
                   " now), and a batch of the whole cohort that is a multiple "
                   "of gradient_mapper.small_batch_size"),
      {{"student's run", Printable(run.run_dir)},
       {"cost", absl::StrFormat("%.2f ms of a step of %.2f ms (%.1f %%)",
                                apply_ms, step_ms, 100 * apply_ms / step_ms)}},
      result);
}

}  // namespace fedlb::cli
