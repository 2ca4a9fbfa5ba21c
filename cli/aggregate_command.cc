#include "aggregate_command.h"

#include <memory>

#include <CLI/CLI.hpp>

namespace fedlb::cli {

void SetUpAggregate(CLI::App& app, ParsedCommand& parsed) {
  auto flags = std::make_shared<AggregateFlags>();
  CLI::App* aggregate = app.add_subcommand(
      "aggregate",
      "Combine update files by a rule, and apply the result to weights");
  aggregate
      ->add_option("updates", flags->updates,
                   "safetensors files, one per client; patterns like "
                   "'updates/*.safetensors'; - for a list of files on standard "
                   "input, one a line")
      ->required()
      ->check(NotEmpty, "")
      ->type_name("FILE...");
  aggregate
      ->add_option("--rule", flags->rule,
                   "The aggregator: mean, median, trimmed_mean, krum, ... "
                   "(default mean); short for --set aggregator.name=RULE")
      ->check(NotEmpty, "")
      ->type_name("RULE");
  CLI::Option* base =
      aggregate
          ->add_option("-b,--base", flags->base,
                       "The weights that the updates belong to; "
                       "[server_optimizer] makes new weights of them (default: "
                       "the result is one update that stands for all)")
          ->check(NotEmpty, "")
          ->type_name("FILE");
  CLI::Option* output =
      aggregate
          ->add_option("-o,--output", flags->output,
                       "Where the result goes; may be the base")
          ->check(NotEmpty, "")
          ->type_name("FILE");
  aggregate
      ->add_option("--state", flags->state,
                   "Keeps what rule and server optimizer remember from call to "
                   "call, like momentum; made by the first")
      ->needs(base)
      ->check(NotEmpty, "")
      ->type_name("FILE");
  aggregate
      ->add_option("--kind", flags->kind,
                   "What files hold that do not say it (metadata fedlb.kind)")
      ->check(CLI::IsMember({"delta", "gradient", "weights"}));
  aggregate
      ->add_option("--weights", flags->weights,
                   "What each update weighs: whole numbers in the order of the "
                   "files, like 600,200, or uniform (default: the metadata "
                   "fedlb.num_examples of the files, or uniform where none "
                   "has it)")
      ->check(NotEmpty, "")
      ->type_name("LIST");
  aggregate
      ->add_option("--threads", flags->threads,
                   "Threads that read and compute; the result does not depend "
                   "on them (default: one per core)")
      ->check(CLI::Range(int64_t{1}, int64_t{1024}))
      ->type_name("N");
  aggregate->add_flag("--strict", flags->strict,
                      "Fail when an update cannot be used, instead of leaving "
                      "it out");
  aggregate
      ->add_flag("--dry-run", flags->dry_run,
                 "Check and compare the updates; write nothing")
      ->excludes(output);
  AddConfigFlags(*aggregate, flags->config);
  AddCommand(*aggregate, flags, true, parsed);
}

}  // namespace fedlb::cli
