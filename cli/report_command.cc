#include "report_command.h"

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

namespace fedlb::cli {
void SetUpReport(CLI::App& app, ParsedCommand& parsed) {
  auto flags = std::make_shared<ReportFlags>();
  CLI::App* report = app.add_subcommand(
      "report",
      "Write the page with a run's curves, or one that compares runs; they may "
      "be in progress");
  report
      ->add_option("runs", flags->run_dirs,
                   "Run folder; of several, curves and figures are compared")
      ->required()
      ->check(NotEmpty, "")
      ->type_name("DIR");
  report
      ->add_option("-o,--output", flags->output,
                   "Page to write (default DIR/report.html, of several runs "
                   "comparison.html)")
      ->check(NotEmpty, "")
      ->type_name("FILE");
  AddCommand(*report, flags, false, parsed);
}

}  // namespace fedlb::cli
