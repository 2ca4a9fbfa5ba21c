#include "train_command.h"

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

namespace fedlb::cli {
void SetUpTrain(CLI::App& app, ParsedCommand& parsed) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* train = app.add_subcommand(
      "train", "Train a model over clients and keep the run in a folder");
  AddConfigFlags(*train, flags->config);
  train
      ->add_option("--init", flags->init,
                   "safetensors file with the initial weights; short for --set "
                   "model.init=FILE")
      ->type_name("FILE");
  train->add_flag("--trust-file", flags->trust_file,
                  "Let a model file run the code that it holds; short for "
                  "--set model.trust_file=true");
  CLI::Option* output =
      train
          ->add_option("-o,--output", flags->output,
                       "Run folder (default runs/<name>-<time>)")
          ->check(NotEmpty, "")
          ->type_name("DIR");
  CLI::Option* resume =
      train
          ->add_option("--resume", flags->resume,
                       "Go on with the run in DIR from its newest checkpoint, "
                       "with the settings it was started with; --set may "
                       "change rounds, name, plugins, transport.* without its "
                       "name, evaluation.*, checkpoint.*, stopping.* and "
                       "execution.memory_limit")
          ->check(NotEmpty, "")
          ->type_name("DIR");
  resume->excludes(output);
  CLI::Option* profile =
      train
          ->add_option(
              "--profile", flags->profile,
              "Log what a profile of this device, by fedlb profile -o "
              "FILE, predicts of time and memory beside what is measured")
          ->check(NotEmpty, "")
          ->type_name("FILE");
  train
      ->add_flag("--dry-run", flags->dry_run,
                 "Print the plan, the time and the bytes; train nothing")
      ->excludes(profile);
  AddRoleFlags(*train, flags->role);
  train
      ->add_option("--spawn", flags->spawn,
                   "Be a server and start N processes on this machine that "
                   "share out the clients, for trying a federation out")
      ->check(CLI::Range(1, 1000))
      ->excludes("--role")
      ->excludes("--listen")
      ->excludes("--connect")
      ->type_name("N");
  AddCommand(*train, flags, true, parsed);
}

}  // namespace fedlb::cli
