#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config_loading.h"
#include "data_command.h"
#include "fedlb/data_summary.h"
#include "fedlb/durable_file.h"
#include "fedlb/partition_picture.h"
#include "fedlb/registry.h"
#include "fedlb/status.h"
#include "table.h"
#include "terminal.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

// Tables for people show no more; JSON has everything.
constexpr size_t kMaxClasses = 20;
constexpr size_t kMaxClients = 50;

int64_t Total(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

std::string ClassRange(const std::vector<int64_t>& counts) {
  const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
  return absl::StrCat(FormatCount(Total(counts)), ", ", FormatCount(*least),
                      *least == *most ? ""
                                      : absl::StrCat(" to ", FormatCount(*most)),
                      " per class");
}

std::string PartitionTable(const PartitionSummary& partition) {
  const size_t classes = partition.counts.size();
  const bool shows_classes = classes <= kMaxClasses;
  std::vector<std::string> header = {"client", "examples", "classes", "EMD",
                                     "JS"};
  for (size_t label = 0; shows_classes && label < classes; ++label) {
    header.push_back(absl::StrCat(label));
  }
  std::vector<std::vector<std::string>> rows;
  const size_t shown = std::min(partition.clients.size(), kMaxClients);
  for (size_t i = 0; i < shown; ++i) {
    const ClientSummary& client = partition.clients[i];
    const auto held =
        std::count_if(client.counts.begin(), client.counts.end(),
                      [](int64_t count) { return count > 0; });
    rows.push_back({absl::StrCat(i), FormatCount(Total(client.counts)),
                    absl::StrCat(held), FormatNumber(client.emd, 3),
                    FormatNumber(client.js_divergence, 3)});
    for (size_t label = 0; shows_classes && label < classes; ++label) {
      rows.back().push_back(FormatCount(client.counts[label]));
    }
  }
  std::string text = FormatTable(header, rows);
  if (partition.clients.size() > shown) {
    absl::StrAppend(&text, "... and ",
                    FormatCount(static_cast<int64_t>(partition.clients.size() -
                                                     shown)),
                    " more clients; --format json or csv has them all\n");
  }
  return text;
}

}  // namespace

absl::Status RunDataInfo(const DataInfoFlags& flags, CommandContext& context,
                         CommandResult& result) {
  ComponentRegistry registry;
  FEDLB_ASSIGN_OR_RETURN(
      const ExperimentConfig config,
      LoadExperimentConfig(flags.config, context.flags, registry));
  FEDLB_ASSIGN_OR_RETURN(const DataSummary data,
                         SummariseData(config, registry, context.terminal));
  const std::string name =
      *config.components.at("dataset").Find("name")->As<std::string>();
  result.data = Json{{"dataset", name},
                     {"example_shape", data.example_shape},
                     {"num_classes", data.num_classes},
                     {"train_examples", Total(data.train_counts)},
                     {"test_examples", Total(data.test_counts)},
                     {"train_counts", data.train_counts},
                     {"test_counts", data.test_counts},
                     {"mean", data.mean},
                     {"std", data.std},
                     {"memory_bytes", data.memory_bytes}};
  result.text = FormatPairs({
      {"dataset", name},
      {"example shape", absl::StrJoin(data.example_shape, " x ")},
      {"classes", FormatCount(data.num_classes)},
      {"train", ClassRange(data.train_counts)},
      {"test", ClassRange(data.test_counts)},
      {"values", absl::StrCat("mean ", FormatNumber(data.mean, 4),
                              ", standard deviation ",
                              FormatNumber(data.std, 4), " as batches hold ",
                              "them")},
      {"memory", FormatBytes(data.memory_bytes)},
  });
  return absl::OkStatus();
}

absl::Status RunDataPartition(const DataPartitionFlags& flags,
                              CommandContext& context, CommandResult& result) {
  ComponentRegistry registry;
  FEDLB_ASSIGN_OR_RETURN(
      const ExperimentConfig config,
      LoadExperimentConfig(flags.config, context.flags, registry));
  FEDLB_ASSIGN_OR_RETURN(
      const PartitionSummary partition,
      SummarisePartition(config, registry, context.terminal));
  if (!flags.picture.empty()) {
    FEDLB_RETURN_IF_ERROR(
        WriteFileDurably(flags.picture, DrawPartition(partition)));
    result.data["picture"] = flags.picture;
  }
  Json clients = Json::array();
  for (size_t i = 0; i < partition.clients.size(); ++i) {
    const ClientSummary& client = partition.clients[i];
    clients.push_back({{"client", i},
                       {"examples", Total(client.counts)},
                       {"emd", client.emd},
                       {"js_divergence", client.js_divergence},
                       {"counts", client.counts}});
  }
  result.data["counts"] = partition.counts;
  result.data["unused_examples"] = partition.unused_examples;
  result.data["mean_emd"] = partition.mean_emd;
  result.data["mean_js_divergence"] = partition.mean_js_divergence;
  result.data["clients"] = std::move(clients);
  result.records = "clients";

  std::vector<std::pair<std::string, std::string>> lines = {
      {"clients", FormatCount(static_cast<int64_t>(partition.clients.size()))},
      {"examples",
       absl::StrCat(FormatCount(Total(partition.counts)), " dealt out, ",
                    FormatCount(partition.unused_examples), " unused")},
      {"mean EMD to all", FormatNumber(partition.mean_emd, 4)},
      {"mean JS divergence",
       absl::StrCat(FormatNumber(partition.mean_js_divergence, 4), " bit")}};
  if (!flags.picture.empty()) {
    lines.emplace_back("picture", Printable(flags.picture));
  }
  result.text = absl::StrCat(FormatPairs(lines), "\n",
                             PartitionTable(partition));
  return absl::OkStatus();
}

}  // namespace fedlb::cli
