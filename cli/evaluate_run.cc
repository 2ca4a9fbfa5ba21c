#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "config_loading.h"
#include "evaluate_command.h"
#include "fedlb/experiment.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"
#include "table.h"
#include "terminal.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

double ClassAccuracy(const Evaluation& evaluation, size_t label) {
  return static_cast<double>(evaluation.class_correct[label]) /
         static_cast<double>(evaluation.class_examples[label]);
}

Json EvaluationJson(const Evaluation& evaluation) {
  Json classes = Json::array();
  for (size_t label = 0; label < evaluation.class_examples.size(); ++label) {
    classes.push_back({{"class", label},
                       {"examples", evaluation.class_examples[label]},
                       {"correct", evaluation.class_correct[label]},
                       {"accuracy", ClassAccuracy(evaluation, label)}});
  }
  return {{"accuracy", evaluation.accuracy},
          {"accuracy_top5", evaluation.accuracy_top5},
          {"loss", evaluation.loss},
          {"examples", evaluation.num_examples},
          {"classes", std::move(classes)}};
}

std::string EvaluationLine(const Evaluation& evaluation) {
  return absl::StrCat("accuracy ", FormatNumber(evaluation.accuracy, 4),
                      ", top-5 ", FormatNumber(evaluation.accuracy_top5, 4),
                      ", loss ", FormatNumber(evaluation.loss, 4), " on ",
                      FormatCount(evaluation.num_examples), " examples");
}

std::string ClassTable(const Evaluation& evaluation) {
  std::vector<std::vector<std::string>> rows;
  for (size_t label = 0; label < evaluation.class_examples.size(); ++label) {
    rows.push_back({absl::StrCat(label),
                    FormatCount(evaluation.class_examples[label]),
                    FormatNumber(ClassAccuracy(evaluation, label), 4)});
  }
  return FormatTable({"class", "examples", "accuracy"}, rows);
}

// The clients with the least accuracy, and how it spreads over all.
std::string ClientTable(const std::vector<double>& accuracies) {
  constexpr size_t kShown = 10;
  std::vector<std::pair<double, size_t>> known;
  for (size_t client = 0; client < accuracies.size(); ++client) {
    if (!std::isnan(accuracies[client])) {
      known.emplace_back(accuracies[client], client);
    }
  }
  std::sort(known.begin(), known.end());
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < std::min(known.size(), kShown); ++i) {
    rows.push_back(
        {absl::StrCat(known[i].second), FormatNumber(known[i].first, 4)});
  }
  return absl::StrCat(
      known.size() > kShown
          ? absl::StrCat("the ", kShown, " of ", known.size(),
                         " clients with the least accuracy\n")
          : "",
      FormatTable({"client", "accuracy"}, rows));
}

}  // namespace

absl::Status RunEvaluate(const EvaluateFlags& flags, CommandContext& context,
                         CommandResult& result) {
  if (flags.run_dir.empty() && flags.config.configs.empty()) {
    return UsageError(
        "name the folder of a run, or give a configuration with --config and "
        "weights with --weights");
  }
  ConfigFlags config_flags = flags.config;
  if (!flags.run_dir.empty()) {
    FEDLB_ASSIGN_OR_RETURN(std::string path,
                           FindRunConfig(flags.run_dir, "evaluate"));
    config_flags.configs.insert(config_flags.configs.begin(), std::move(path));
  }
  ComponentRegistry registry;
  FEDLB_ASSIGN_OR_RETURN(
      const ExperimentConfig config,
      LoadExperimentConfig(config_flags, context.flags, registry));
  FEDLB_ASSIGN_OR_RETURN(
      const std::unique_ptr<Experiment> experiment,
      Experiment::Create(config, registry, context.terminal));
  EvaluateOptions options;
  options.weights = flags.weights;
  options.run_dir = flags.run_dir;
  options.export_to = flags.export_to;
  options.stop = &context.stop;
  FEDLB_ASSIGN_OR_RETURN(const EvaluationReport report,
                         experiment->Evaluate(options));

  result.data["weights"] = report.weights;
  result.data["test"] = EvaluationJson(report.test);
  result.data["validation"] = report.validation.num_examples > 0
                                  ? EvaluationJson(report.validation)
                                  : Json();
  Json clients = Json::array();
  for (size_t client = 0; client < report.client_accuracy.size(); ++client) {
    clients.push_back(
        {{"client", client}, {"accuracy", report.client_accuracy[client]}});
  }
  result.data["clients"] = std::move(clients);

  std::vector<std::pair<std::string, std::string>> lines = {
      {"weights", report.weights.empty() ? "the initial ones"
                                         : Printable(report.weights)},
      {"test", EvaluationLine(report.test)}};
  if (report.validation.num_examples > 0) {
    lines.emplace_back("validation", EvaluationLine(report.validation));
  }
  if (!flags.export_to.empty()) {
    lines.emplace_back("exported to", Printable(flags.export_to));
    result.data["exported_to"] = flags.export_to;
  }
  result.text = absl::StrCat(FormatPairs(lines), "\n", ClassTable(report.test),
                             "\n", ClientTable(report.client_accuracy));
  return absl::OkStatus();
}

}  // namespace fedlb::cli
