#include "completion.h"

#include <map>

#include <CLI/CLI.hpp>

namespace fedlb::cli {
namespace {

// Options whose values are known to the parser.
const std::map<std::string, std::vector<std::string>>& KnownValues() {
  static const auto& values =
      *new std::map<std::string, std::vector<std::string>>{
          {"--format", {"table", "json", "jsonl", "csv"}}};
  return values;
}

bool StartsWith(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

// Hidden commands have no description.
std::vector<const CLI::App*> VisibleCommands(const CLI::App& app) {
  std::vector<const CLI::App*> commands;
  for (const CLI::App* command : app.get_subcommands({})) {
    if (!command->get_description().empty()) {
      commands.push_back(command);
    }
  }
  return commands;
}

}  // namespace

std::string CompletionScript(const std::string& shell) {
  if (shell == "bash") {
    return R"(# Load with: source <(fedlb completion bash)
_fedlb() {
  local IFS=$'\n'
  COMPREPLY=($(fedlb __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o bashdefault -o default -F _fedlb fedlb
)";
  }
  if (shell == "zsh") {
    return R"(#compdef fedlb
# Load with: source <(fedlb completion zsh)
_fedlb() {
  local -a candidates
  candidates=("${(@f)$(fedlb __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n $candidates ]]; then
    compadd -a candidates
  else
    _files
  fi
}
compdef _fedlb fedlb
)";
  }
  if (shell == "fish") {
    return R"(# Load with: fedlb completion fish | source
function __fedlb_complete
  set -l words (commandline -opc) (commandline -ct)
  fedlb __complete $words[2..-1] 2>/dev/null
end
complete -c fedlb -a '(__fedlb_complete)'
)";
  }
  return "";
}

std::string Complete(const CLI::App& app,
                     const std::vector<std::string>& words) {
  const CLI::App* command = &app;
  const std::string current = words.empty() ? "" : words.back();
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    for (const CLI::App* inner : VisibleCommands(*command)) {
      if (inner->get_name() == words[i]) {
        command = inner;
        break;
      }
    }
  }
  std::vector<std::string> candidates;
  const std::string previous =
      words.size() > 1 ? words[words.size() - 2] : std::string();
  if (const auto known = KnownValues().find(previous);
      known != KnownValues().end()) {
    candidates = known->second;
  } else if (StartsWith(current, "-")) {
    for (const CLI::Option* option : command->get_options()) {
      for (const std::string& name : option->get_lnames()) {
        candidates.push_back("--" + name);
      }
    }
  } else {
    for (const CLI::App* inner : VisibleCommands(*command)) {
      candidates.push_back(inner->get_name());
    }
  }
  std::string lines;
  for (const std::string& candidate : candidates) {
    if (StartsWith(candidate, current)) {
      lines += candidate + "\n";
    }
  }
  return lines;
}

}  // namespace fedlb::cli
