#include "evaluate_command.h"

#include <memory>

#include <CLI/CLI.hpp>

namespace fedlb::cli {

void SetUpEvaluate(CLI::App& app, ParsedCommand& parsed) {
  auto flags = std::make_shared<EvaluateFlags>();
  CLI::App* evaluate = app.add_subcommand(
      "evaluate",
      "Measure weights on the held-out examples: top-1, top-5, per class and "
      "per client");
  evaluate
      ->add_option("run", flags->run_dir,
                   "Folder of a run, whose settings and newest weights are "
                   "taken")
      ->type_name("RUN");
  evaluate
      ->add_option("--weights", flags->weights,
                   "Evaluate this file instead: a state dict in safetensors, "
                   "or a checkpoint")
      ->type_name("FILE");
  evaluate
      ->add_option("--export", flags->export_to,
                   "Write the evaluated weights as a safetensors state dict, "
                   "which PyTorch loads")
      ->type_name("FILE");
  AddConfigFlags(*evaluate, flags->config);
  AddCommand(*evaluate, flags, true, parsed);
}

}  // namespace fedlb::cli
