#include "certs_command.h"

#include <memory>

#include <CLI/CLI.hpp>

namespace fedlb::cli {

void SetUpCerts(CLI::App& app, ParsedCommand& parsed) {
  auto flags = std::make_shared<CertsFlags>();
  CLI::App* certs = app.add_subcommand(
      "certs",
      "Make a certificate authority and certificates for a server and its "
      "clients; more of them where the folder holds an authority already");
  certs->add_option("folder", flags->folder, "Where the files go")
      ->check(NotEmpty, "")
      ->type_name("DIR")
      ->required();
  certs
      ->add_option("--host", flags->hosts,
                   "A name or address under which clients reach the server; "
                   "repeatable (default localhost and 127.0.0.1)")
      ->allow_extra_args(false)
      ->check(NotEmpty, "")
      ->type_name("HOST");
  certs
      ->add_option("--clients", flags->clients,
                   "A certificate for each of the clients 0 to N-1")
      ->check(CLI::Range(1, 100000))
      ->type_name("N");
  certs
      ->add_option("--client", flags->hosted,
                   "One certificate for a process that hosts these clients, "
                   "like 0,3,6; repeatable")
      ->allow_extra_args(false)
      ->check(NotEmpty, "")
      ->type_name("K,...");
  certs
      ->add_option("--days", flags->days,
                   "How long the certificates hold (default 365)")
      ->check(CLI::Range(1, 36500))
      ->type_name("DAYS");
  AddCommand(*certs, flags, false, parsed);
}

}  // namespace fedlb::cli
