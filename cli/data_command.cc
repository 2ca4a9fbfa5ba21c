#include "data_command.h"

#include <memory>

#include <CLI/CLI.hpp>

namespace fedlb::cli {

void SetUpData(CLI::App& app, ParsedCommand& parsed) {
  CLI::App* data =
      app.add_subcommand("data", "Look at a dataset and at its partition");
  data->require_subcommand(1);

  auto info_flags = std::make_shared<DataInfoFlags>();
  CLI::App* info = data->add_subcommand(
      "info", "Read the dataset: sizes, classes, statistics, memory");
  AddConfigFlags(*info, info_flags->config);
  AddCommand(*info, info_flags, true, parsed);

  auto partition_flags = std::make_shared<DataPartitionFlags>();
  CLI::App* partition = data->add_subcommand(
      "partition",
      "Deal the training examples out to the clients as a run would: counts per "
      "client and class, and how far each client is from the whole");
  AddConfigFlags(*partition, partition_flags->config);
  partition
      ->add_option("--picture", partition_flags->picture,
                   "Draw the partition into this SVG file")
      ->type_name("FILE");
  AddCommand(*partition, partition_flags, true, parsed);
}

}  // namespace fedlb::cli
