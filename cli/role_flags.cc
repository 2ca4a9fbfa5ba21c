#include "role_flags.h"

#include <CLI/CLI.hpp>

#include "command.h"

namespace fedlb::cli {

void AddRoleFlags(CLI::App& command, RoleFlags& flags) {
  command
      .add_option("--role", flags.role,
                  "server, for clients in other processes, or client, a host "
                  "of them; short for --set transport.name=thrift --set "
                  "transport.role=ROLE")
      ->check(CLI::IsMember({"server", "client"}))
      ->type_name("ROLE");
  CLI::Option* listen =
      command
          .add_option("--listen", flags.listen,
                      "Where the server listens: HOST:PORT or unix:PATH; "
                      "implies --role server")
          ->check(NotEmpty, "")
          ->type_name("ADDRESS");
  command
      .add_option("--connect", flags.connect,
                  "The server's address; implies --role client")
      ->check(NotEmpty, "")
      ->excludes(listen)
      ->type_name("ADDRESS");
  command
      .add_option("--client-id", flags.client_ids,
                  "A client that this process hosts; repeatable, or "
                  "comma-separated")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber)
      ->allow_extra_args(false)
      ->type_name("K");
  command
      .add_option("--state-dir", flags.state_dir,
                  "Folder where the clients keep what they remember, to go on "
                  "after a fall")
      ->check(NotEmpty, "")
      ->type_name("DIR");
  command.add_flag("--insecure", flags.insecure,
                   "Allow plain text beyond this machine; short for --set "
                   "transport.insecure=true");
}

}  // namespace fedlb::cli
