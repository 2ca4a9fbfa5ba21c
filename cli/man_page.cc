#include "man_page.h"

#include <CLI/CLI.hpp>

namespace fedlb::cli {
namespace {

// groff takes "-" for a hyphen, "\" for an escape and a leading "." or "'" for a
// request.
std::string Roff(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '-') {
      escaped += "\\-";
    } else if (c == '\\') {
      escaped += "\\e";
    } else {
      escaped += c;
    }
  }
  const bool is_request =
      !escaped.empty() && (escaped[0] == '.' || escaped[0] == '\'');
  return is_request ? "\\&" + escaped : escaped;
}

std::string OptionEntry(const CLI::Option& option) {
  std::string names = Roff(option.get_name(option.get_positional(), true));
  const std::string type = option.get_type_name();
  if (!type.empty() && option.get_items_expected_max() > 0) {
    names += " \\fI" + Roff(type) + "\\fR";
  }
  return ".TP\n\\fB" + names + "\\fR\n" + Roff(option.get_description()) + "\n";
}

void AddCommands(const CLI::App& app, const std::string& name,
                 std::string& page) {
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_description().empty()) {
      continue;  // hidden
    }
    const std::string full_name = name + " " + command->get_name();
    page += ".SS \"" + Roff(full_name) + "\"\n" +
            Roff(command->get_description()) + ".\n";
    if (command->get_subcommands({}).empty()) {
      for (const CLI::Option* option : command->get_options()) {
        page += OptionEntry(*option);
      }
    }
    AddCommands(*command, full_name, page);
  }
}

}  // namespace

std::string ManPage(const CLI::App& app, const std::string& version) {
  std::string page =
      ".TH FEDLB 1 \"\" \"fedlb " + Roff(version) + "\" \"User Commands\"\n"
      ".SH NAME\nfedlb \\- large\\-batch federated learning\n"
      ".SH SYNOPSIS\n.B fedlb\n\\fICOMMAND\\fR [\\fIOPTION\\fR]...\n"
      ".SH DESCRIPTION\n" +
      Roff("Trains models over many clients, each with its own share of the "
           "data and its own batch size. The result goes to stdout, in the "
           "format of --format; progress and warnings go to stderr. Settings "
           "come from TOML files, from the environment "
           "(FEDLB_SET__section__key) and from --set; fedlb plugins describe "
           "--all lists them.") +
      "\n.SH COMMANDS\n";
  AddCommands(app, "fedlb", page);
  page += ".SH EXIT STATUS\n";
  for (const auto& [code, meaning] :
       std::vector<std::pair<const char*, const char*>>{
           {"0", "done"},
           {"1", "failed"},
           {"2", "wrong usage"},
           {"3", "wrong configuration"},
           {"4", "bad input file"},
           {"5", "out of memory, or an infeasible batch"},
           {"6", "peer or transport lost"},
           {"7", "deadline passed, or too few clients"},
           {"8", "plugin refused"},
           {"9", "diverged: loss or weights not finite"},
           {"10", "storage full, unwritable or locked"},
           {"130, 143", "interrupted or terminated, with a checkpoint"}}) {
    page += std::string(".TP\n.B ") + code + "\n" + Roff(meaning) + "\n";
  }
  return page;
}

}  // namespace fedlb::cli
