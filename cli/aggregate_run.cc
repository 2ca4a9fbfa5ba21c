#include <algorithm>
#include <cstddef>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "aggregate_command.h"
#include "config_loading.h"
#include "fedlb/aggregator.h"
#include "fedlb/config.h"
#include "fedlb/experiment_config.h"
#include "fedlb/file_aggregation.h"
#include "fedlb/optimizer.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"
#include "table.h"
#include "terminal.h"
#include "update_paths.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

// What takes less shows no progress.
constexpr absl::Duration kQuietTime = absl::Seconds(1);

// One whole number per file, in words of --weights.
absl::StatusOr<std::vector<int64_t>> ParseWeights(const std::string& text,
                                                  size_t num_files) {
  if (text.empty()) {
    return std::vector<int64_t>();
  }
  if (text == "uniform") {
    return std::vector<int64_t>(num_files, 1);
  }
  std::vector<int64_t> weights;
  for (const auto& part : absl::StrSplit(text, ',')) {
    int64_t weight = 0;
    if (!absl::SimpleAtoi(part, &weight) || weight < 1) {
      return UsageError(absl::StrCat("--weights ", text, ": `", part,
                                     "` is no whole number of at least 1"));
    }
    weights.push_back(weight);
  }
  if (weights.size() != num_files) {
    return UsageError(absl::StrCat("--weights names ", weights.size(),
                                   " weights for ", num_files, " updates"));
  }
  return weights;
}

std::string StatusOf(const FileUpdateReport& update) {
  return !update.rejected.empty() ? "rejected"
         : !update.chosen         ? "not chosen"
         : update.clipped         ? "clipped"
                                  : "used";
}

Json UpdateJson(const FileUpdateReport& update) {
  Json json = {{"file", update.path},  {"status", StatusOf(update)},
               {"reason", nullptr},    {"num_examples", update.num_examples},
               {"norm", update.norm},  {"cosine", update.cosine},
               {"share", update.share}};
  if (!update.rejected.empty()) {
    json["reason"] = update.rejected;
  }
  return json;
}

void Describe(const FileAggregationReport& report, const AggregateFlags& flags,
              const std::string& rule, CommandResult& result) {
  result.data["rule"] = rule;
  result.data["kind"] = NameOf(report.kind);
  result.data["base"] = flags.base.empty() ? Json() : Json(flags.base);
  result.data["output"] = flags.output.empty() ? Json() : Json(flags.output);
  result.data["round"] = report.round > 0 ? Json(report.round) : Json();
  result.data["accepted"] = report.num_accepted;
  result.data["rejected"] =
      static_cast<int64_t>(report.updates.size()) - report.num_accepted;
  result.data["num_examples"] = report.num_examples;
  result.data["num_parameters"] = report.num_parameters;
  result.data["norm"] = report.norm;
  result.data["rule_report"] = Json::object();
  for (const auto& [name, value] : report.rule_report) {
    result.data["rule_report"][name] = value;
  }
  result.data["bytes_read"] = report.bytes_read;
  result.data["seconds"] = report.seconds;
  result.data["updates"] = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const FileUpdateReport& update : report.updates) {
    result.data["updates"].push_back(UpdateJson(update));
    rows.push_back({Printable(update.path), FormatCount(update.num_examples),
                    FormatNumber(update.norm, 4),
                    FormatNumber(update.cosine, 4),
                    FormatNumber(update.share, 4), StatusOf(update)});
  }
  result.records = "updates";
  std::vector<std::pair<std::string, std::string>> lines = {
      {"rule", rule},
      {"updates",
       absl::StrCat(FormatCount(report.num_accepted), " of ",
                    FormatCount(static_cast<int64_t>(report.updates.size())),
                    " (", NameOf(report.kind), ", ",
                    FormatCount(report.num_parameters), " parameters, ",
                    FormatCount(report.num_examples), " examples)")},
      {"norm", FormatNumber(report.norm, 4)},
      {"read", absl::StrCat(FormatBytes(report.bytes_read), " in ",
                            FormatSeconds(report.seconds))}};
  if (!flags.output.empty()) {
    lines.emplace_back("output", Printable(flags.output));
  }
  result.text = absl::StrCat(
      FormatTable({"update", "examples", "norm", "cosine", "share", "status"},
                  rows),
      "\n", FormatPairs(lines));
}

}  // namespace

absl::Status RunAggregate(const AggregateFlags& flags, CommandContext& context,
                          CommandResult& result) {
  if (flags.output.empty() && !flags.dry_run) {
    return UsageError(
        "name the file of the result with --output, or give "
        "--dry-run to write nothing");
  }
  FileAggregationOptions options;
  FEDLB_ASSIGN_OR_RETURN(options.updates, ExpandPaths(flags.updates, std::cin));
  FEDLB_ASSIGN_OR_RETURN(options.num_examples,
                         ParseWeights(flags.weights, options.updates.size()));

  ConfigFlags config_flags = flags.config;
  if (!flags.rule.empty()) {
    config_flags.sets.insert(
        config_flags.sets.begin(),
        absl::StrCat("aggregator.name=", ConfigValue(flags.rule).ToString()));
  }
  ComponentRegistry registry;
  FEDLB_ASSIGN_OR_RETURN(
      const ExperimentConfig config,
      LoadExperimentConfig(config_flags, context.flags, registry));
  ComponentContext component_context;
  component_context.seed = static_cast<uint64_t>(config.run.seed);
  component_context.num_clients = static_cast<int64_t>(options.updates.size());
  component_context.registry = &registry;
  component_context.logger = &context.terminal;
  const ConfigTable& rule_table = config.components.at("aggregator");
  FEDLB_ASSIGN_OR_RETURN(
      const std::unique_ptr<Aggregator> rule,
      registry.Create<Aggregator>(rule_table, component_context));
  // A configuration of BSP has one optimizer, which is the server's.
  const ConfigTable& optimizer_table =
      config.components.contains("server_optimizer")
          ? config.components.at("server_optimizer")
          : config.components.at("optimizer");
  FEDLB_ASSIGN_OR_RETURN(
      const std::unique_ptr<Optimizer> optimizer,
      registry.Create<Optimizer>(optimizer_table, component_context));

  options.kind = flags.kind;
  options.gate = config.update_gate;
  options.base = flags.base;
  options.output = flags.output;
  options.strict = flags.strict;
  options.state = flags.state;
  ConfigTable settings;
  settings.Set("aggregator", ConfigValue(rule_table));
  settings.Set("optimizer", ConfigValue(optimizer_table));
  options.settings_text = PrintToml(settings, /*with_origins=*/false);
  options.stop = &context.stop;
  options.logger = &context.terminal;
  options.progress = [&context, start = absl::Now()](int64_t done,
                                                     int64_t total) {
    if (absl::Now() - start > kQuietTime) {
      context.terminal.Show(
          {.done = done >> 20, .total = total >> 20, .unit = "MiB"});
    }
  };
  at::set_num_threads(static_cast<int>(
      flags.threads > 0 ? flags.threads
                        : std::max(1U, std::thread::hardware_concurrency())));

  FileAggregationReport report;
  const absl::Status status =
      AggregateFiles(options, *rule, *optimizer, report);
  context.terminal.EndProgress();
  for (const FileUpdateReport& update : report.updates) {
    if (!update.rejected.empty()) {
      context.terminal.Warning(absl::StrCat("left out: ", update.rejected));
    }
  }
  Describe(report, flags, *rule_table.Find("name")->As<std::string>(), result);
  if (!status.ok()) {
    result.text.clear();
  }
  return status;
}

}  // namespace fedlb::cli
