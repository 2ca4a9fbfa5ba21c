#include "profile_command.h"

#include <limits>
#include <memory>

#include <CLI/CLI.hpp>

namespace fedlb::cli {

void SetUpProfile(CLI::App& app, ParsedCommand& parsed) {
  auto flags = std::make_shared<ProfileFlags>();
  CLI::App* profile =
      app.add_subcommand("profile",
                         "Tell which batch sizes fit this device, what they "
                         "cost and which to use");
  AddConfigFlags(*profile, flags->config);
  AddRoleFlags(*profile, flags->role);
  const CLI::Range batch_sizes(int64_t{1},
                               std::numeric_limits<int64_t>::max() / 8);
  profile
      ->add_option("--memory", flags->memory,
                   "What tensors may hold, as \"8GiB\"; short for --set "
                   "execution.memory_limit=SIZE (default: what the machine or "
                   "its cgroup has left)")
      ->check(NotEmpty, "")
      ->type_name("SIZE");
  profile
      ->add_option(
          "--max-batch", flags->max_batch,
          "Run no step of more examples (default: up to 1024 are "
          "timed, and beyond that as many as fit are tried in steps of "
          "seconds)")
      ->check(batch_sizes)
      ->type_name("N");
  profile
      ->add_option("--predict", flags->predict,
                   "Batch sizes to predict memory and time for, as "
                   "\"48,200,700\" (default: those that were measured)")
      ->delimiter(',')
      ->check(batch_sizes)
      ->type_name("N,...");
  CLI::Option* memory_only =
      profile->add_flag("--memory-only", flags->memory_only,
                        "Time nothing: fewer steps, and no advice");
  profile
      ->add_option("--noise-rounds", flags->noise_rounds,
                   "Rounds of training over which the gradient noise is "
                   "measured, of which a minute is taken at most; 0 for none, "
                   "and then advice knows of no accuracy")
      ->check(CLI::Range(int64_t{0}, int64_t{1000000}))
      ->capture_default_str()
      ->type_name("N");
  profile
      ->add_option("-o,--output", flags->output,
                   "Write the profile of this device to FILE, as JSON")
      ->check(NotEmpty, "")
      ->type_name("FILE");
  profile
      ->add_option("--advice", flags->advice,
                   "Write the advice to FILE as TOML that train takes with "
                   "--config")
      ->check(NotEmpty, "")
      ->type_name("FILE");
  profile
      ->add_option(
          "--report", flags->report,
          "Write a page with measurements, fits and intervals to FILE, "
          "as HTML")
      ->check(NotEmpty, "")
      ->type_name("FILE");
  CLI::Option* devices =
      profile
          ->add_option("--devices", flags->devices,
                       "Measure nothing: share a batch out between the devices "
                       "of these profiles, one for each client, so that they "
                       "finish together within their memory")
          ->check(NotEmpty, "")
          ->type_name("FILE...");
  profile
      ->add_option(
          "--global-batch", flags->global_batch,
          "Examples of all devices' batches together (default: what is "
          "advised for each, together)")
      ->check(batch_sizes)
      ->needs(devices)
      ->type_name("N");
  for (const char* measured :
       {"--memory", "--max-batch", "--predict", "--memory-only", "--output",
        "--report", "--noise-rounds"}) {
    devices->excludes(profile->get_option(measured));
  }
  memory_only->excludes(profile->get_option("--advice"));
  CLI::Option* bandwidth =
      profile
          ->add_option("--bandwidth-mbit", flags->bandwidth_mbit,
                       "Predict what rounds take over links of this many "
                       "Mbit/s (default: as the transport measures itself, if "
                       "anything travels over it)")
          ->check(CLI::PositiveNumber)
          ->type_name("X");
  profile
      ->add_option("--latency-ms", flags->latency_ms,
                   "Milliseconds that a message takes over these links besides")
      ->check(CLI::NonNegativeNumber)
      ->needs(bandwidth)
      ->type_name("X");
  profile
      ->add_option("--compression", flags->compression,
                   "By how much what clients send is compressed")
      ->check(CLI::Range(1.0, 1e9))
      ->capture_default_str()
      ->type_name("X");
  AddCommand(*profile, flags, true, parsed);
}

}  // namespace fedlb::cli
