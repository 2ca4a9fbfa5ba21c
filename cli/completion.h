// Tab completion for shells, read off the parser itself.

#ifndef FEDLB_CLI_COMPLETION_H_
#define FEDLB_CLI_COMPLETION_H_

#include <string>
#include <vector>

namespace CLI {
class App;
}  // namespace CLI

namespace fedlb::cli {

// The hidden command that the shells' scripts call with the words typed so far,
// the last of them being completed.
inline constexpr char kCompleteCommand[] = "__complete";

// The script for "bash", "zsh" or "fish"; empty for another shell.
std::string CompletionScript(const std::string& shell);

// What may stand in the place of the last of `words` (without the program's own
// name), one candidate per line. Nothing where a file or a value of the user's
// is expected; the shell then offers files.
std::string Complete(const CLI::App& app,
                     const std::vector<std::string>& words);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_COMPLETION_H_
