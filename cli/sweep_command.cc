#include "sweep_command.h"

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

namespace fedlb::cli {
void SetUpSweep(CLI::App& app, ParsedCommand& parsed) {
  auto flags = std::make_shared<SweepFlags>();
  CLI::App* sweep = app.add_subcommand(
      "sweep",
      "Train with every combination of settings and seeds, choose each "
      "method's best setting on the validation split, and compare the methods "
      "on the test set; called again, it goes on where it stopped");
  sweep
      ->add_option("study", flags->study,
                   "TOML file that names configurations, seeds and methods")
      ->check(NotEmpty, "")
      ->type_name("STUDY");
  AddConfigFlags(*sweep, flags->config);
  sweep->get_option("--set")->description(
      "One setting, or a list of values to try, like optimizer.lr=0.05,0.1; "
      "repeatable; of every method of a study");
  sweep
      ->add_option("--seeds", flags->seeds,
                   "Seeds of the runs that are compared, like 1..5 or 1,2,3 "
                   "(default: the study's, or 1)")
      ->check(NotEmpty, "")
      ->type_name("SEEDS");
  sweep
      ->add_option("--tuning-seeds", flags->tuning_seeds,
                   "Seeds of the runs that choose the settings (default: the "
                   "study's, or those that are compared)")
      ->check(NotEmpty, "")
      ->type_name("SEEDS");
  sweep
      ->add_option("-o,--output", flags->output,
                   "Folder of the runs and tables (default sweeps/<name>)")
      ->check(NotEmpty, "")
      ->type_name("DIR");
  sweep
      ->add_option("-j,--jobs", flags->jobs,
                   "Runs at a time (default: one per processor)")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  sweep->add_flag("--dry-run", flags->dry_run,
                  "Check every configuration, count the runs; train nothing");
  AddCommand(*sweep, flags, true, parsed);
}

}  // namespace fedlb::cli
