#include "teacher_fit_command.h"

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

namespace fedlb::cli {
void SetUpTeacherFit(CLI::App& app, ParsedCommand& parsed) {
  auto flags = std::make_shared<TeacherFitFlags>();
  CLI::App* fit = app.add_subcommand(
      "teacher-fit",
      "Train a student with the large batch for the configured rounds, fit a "
      "teacher to what small-batch steps do along the way, score it on pairs "
      "that it has not seen, and write it to a file for gradient_mapper.file");
  AddConfigFlags(*fit, flags->config);
  fit->add_option("-o,--output", flags->output,
                  "File of the teacher (default teacher.safetensors)")
      ->check(NotEmpty, "")
      ->type_name("FILE");
  CLI::Option* record =
      fit->add_option("--record", flags->record,
                      "Folder that is to keep every pair as a file")
          ->check(NotEmpty, "")
          ->type_name("DIR");
  CLI::Option* run_dir =
      fit->add_option("--run-dir", flags->run_dir,
                      "Folder of the student's run (default: FILE.run)")
          ->check(NotEmpty, "")
          ->type_name("DIR");
  CLI::Option* resume =
      fit->add_option("--resume", flags->resume,
                      "Go on with the fit whose student's run is in DIR")
          ->check(NotEmpty, "")
          ->type_name("DIR")
          ->excludes(run_dir)
          ->excludes(record);
  fit->add_option("--pairs", flags->pairs,
                  "Fit to the pairs that --record kept in DIR, and train no "
                  "student")
      ->check(NotEmpty, "")
      ->type_name("DIR")
      ->excludes(record)
      ->excludes(run_dir)
      ->excludes(resume);
  fit->add_flag("--dry-run", flags->dry_run,
                "Print the plan, the time and the bytes; fit nothing");
  AddCommand(*fit, flags, true, parsed);
}

}  // namespace fedlb::cli
