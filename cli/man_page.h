// Manual pages, read off the parser itself so that they cannot go stale.

#ifndef FEDLB_CLI_MAN_PAGE_H_
#define FEDLB_CLI_MAN_PAGE_H_

#include <string>

namespace CLI {
class App;
}  // namespace CLI

namespace fedlb::cli {

// The hidden command that prints a page; the build installs its output.
inline constexpr char kManCommand[] = "__man";

// The page of the program, with all of its commands, as groff's man macros.
std::string ManPage(const CLI::App& app, const std::string& version);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_MAN_PAGE_H_
