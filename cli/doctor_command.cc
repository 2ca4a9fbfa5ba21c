#include "doctor_command.h"

#include <memory>

#include <CLI/CLI.hpp>

namespace fedlb::cli {

void SetUpDoctor(CLI::App& app, ParsedCommand& parsed) {
  auto flags = std::make_shared<DoctorFlags>();
  CLI::App* doctor = app.add_subcommand(
      "doctor",
      "Check the installation and the machine: plugins, LibTorch, processor, "
      "memory, disk, data, device");
  doctor
      ->add_option("folder", flags->folder,
                   "Where runs will be kept (default the working directory)")
      ->type_name("DIR");
  AddCommand(*doctor, flags, true, parsed);
}

}  // namespace fedlb::cli
