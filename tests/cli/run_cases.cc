// Runs the end-to-end cases of one .case file.
//
// A case file is a list of cases, each of which runs in an empty folder of its
// own:
//
//   # comment
//   case <name>
//   file <path>            makes a file of the lines below that begin with '|'
//   | <line>
//   run <command>          what /bin/sh runs, with fedlb in the PATH; set -e is
//                          not in force
//   exit <code>            of the command above; 0 where it is not given
//   stdout <regex>         some line matches; several must match in order
//   stderr <regex>
//   no-stdout [<regex>]    no line matches; without a regex: nothing was
//   printed no-stderr [<regex>] json <pointer> <value> stdout is one line of
//   JSON with this value there;
//                          a value is JSON, or /regex/ for a string
//   envelope               stdout is the envelope of a result: the five keys,
//                          exit_code as the process has it, error on failure
//
// In commands $SOURCE is the repository, $SMOKE configs/smoke.toml, $FIXTURES
// the folder of the libraries built in tests/core/plugins, and $DATA
// the folder of Debian's Fashion-MNIST.

#include <cstddef>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <optional>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/process.h"

namespace fedlb::testing {
namespace {

struct Check {
  int line = 0;
  std::string word;
  std::string rest;
};

struct Step {
  int line = 0;
  std::string command;
  int exit_code = 0;
  std::vector<Check> checks;
};

struct File {
  std::string path;
  std::string text;
  size_t before_step = 0;
};

struct Case {
  std::string name;
  std::vector<File> files;
  std::vector<Step> steps;
};

std::vector<Case> ParseCases(const std::string& path) {
  std::ifstream input(path);
  if (!input) {
    throw std::runtime_error("cannot read " + path);
  }
  std::vector<Case> cases;
  std::string line;
  for (int number = 1; std::getline(input, line); ++number) {
    const auto fail = [&](const std::string& why) {
      throw std::runtime_error(path + ":" + std::to_string(number) + ": " +
                               why);
    };
    if (line.empty() || line[0] == '#') {
      continue;
    }
    const size_t space = line.find(' ');
    const std::string word = line.substr(0, space);
    const std::string rest =
        space == std::string::npos ? "" : line.substr(space + 1);
    if (word == "case") {
      cases.push_back({rest, {}, {}});
      continue;
    }
    if (cases.empty()) {
      fail("a case begins with 'case <name>'");
    }
    Case& current = cases.back();
    if (word == "file") {
      current.files.push_back({rest, "", current.steps.size()});
    } else if (word == "|") {
      if (current.files.empty()) {
        fail("no file above");
      }
      current.files.back().text += rest + "\n";
    } else if (word == "run") {
      current.steps.push_back({number, rest, 0, {}});
    } else if (current.steps.empty()) {
      fail("no command above");
    } else if (word == "exit") {
      current.steps.back().exit_code = std::stoi(rest);
    } else if (word == "stdout" || word == "stderr" || word == "no-stdout" ||
               word == "no-stderr" || word == "json" || word == "envelope") {
      current.steps.back().checks.push_back({number, word, rest});
    } else {
      fail("unknown word '" + word + "'");
    }
  }
  return cases;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    // std::regex recurses per character and would exhaust the stack.
    lines.push_back(line.substr(0, 4000));
  }
  return lines;
}

// The first line from `from` on that matches, or nothing.
std::optional<size_t> FindLine(const std::vector<std::string>& lines,
                               size_t from, const std::string& pattern) {
  const std::regex regex(pattern);
  for (size_t i = from; i < lines.size(); ++i) {
    if (std::regex_search(lines[i], regex)) {
      return i;
    }
  }
  return std::nullopt;
}

std::string CheckJson(const ProcessResult& result, const std::string& rest) {
  const nlohmann::json json = nlohmann::json::parse(result.out);
  const size_t space = rest.find(' ');
  const std::string expected =
      space == std::string::npos ? "" : rest.substr(space + 1);
  const nlohmann::json& found =
      json.at(nlohmann::json::json_pointer(rest.substr(0, space)));
  if (expected.size() > 1 && expected.front() == '/' &&
      expected.back() == '/') {
    const std::regex regex(expected.substr(1, expected.size() - 2));
    return found.is_string() &&
                   std::regex_search(found.get<std::string>(), regex)
               ? ""
               : "found " + found.dump();
  }
  return found == nlohmann::json::parse(expected) ? ""
                                                  : "found " + found.dump();
}

std::string CheckEnvelope(const ProcessResult& result) {
  const nlohmann::json json = nlohmann::json::parse(result.out);
  if (json.at("schema") != "fedlb.result/1" ||
      !json.at("command").is_string()) {
    return "schema or command is wrong";
  }
  if (!json.at("data").is_object() || !json.at("warnings").is_array()) {
    return "data is no object or warnings is no list";
  }
  if (json.at("exit_code") != result.exit_code) {
    return "exit_code is not that of the process";
  }
  if ((json.at("status") == "ok") != (result.exit_code == 0) ||
      json.contains("error") != (result.exit_code != 0)) {
    return "status or error does not fit the exit code";
  }
  if (json.contains("error") && (!json["error"].at("code").is_string() ||
                                 !json["error"].at("message").is_string())) {
    return "error has no code or no message";
  }
  return "";
}

// Empty, or what is wrong.
std::string Examine(const Check& check, const ProcessResult& result,
                    size_t& out_line, size_t& err_line) {
  if (check.word == "json") {
    return CheckJson(result, check.rest);
  }
  if (check.word == "envelope") {
    return CheckEnvelope(result);
  }
  const bool is_out = check.word.find("stdout") != std::string::npos;
  const std::string& text = is_out ? result.out : result.err;
  if (check.word.rfind("no-", 0) == 0) {
    const bool found = check.rest.empty()
                           ? !text.empty()
                           : FindLine(Lines(text), 0, check.rest).has_value();
    return found ? "unexpected output" : "";
  }
  size_t& next = is_out ? out_line : err_line;
  const std::optional<size_t> found = FindLine(Lines(text), next, check.rest);
  if (!found.has_value()) {
    return "no line matches";
  }
  next = *found + 1;
  return "";
}

// True when the step is as expected; otherwise says why not.
bool RunStep(const std::string& path, const Step& step,
             const std::string& folder) {
  // The streams are kept outside the folder that the command sees.
  const TemporaryFolder streams;
  const std::string bin =
      std::string(FEDLB_TEST_BINARY)
          .substr(0, std::string(FEDLB_TEST_BINARY).rfind('/'));
  const char* path_variable = std::getenv("PATH");
  const ProcessResult result = RunProcess(
      {"/bin/sh", "-c", "cd \"$FOLDER\" && { " + step.command + "\n}"},
      streams.path(),
      {{"PATH", bin + ":" + (path_variable != nullptr ? path_variable : "")},
       {"FOLDER", folder},
       {"SOURCE", FEDLB_TEST_SOURCE_DIR},
       {"SMOKE", std::string(FEDLB_TEST_SOURCE_DIR) + "/configs/smoke.toml"},
       {"FIXTURES", FEDLB_TEST_BUILD_DIR "/tests/plugins"},
       {"DATA", "/usr/share/datasets/fashion-mnist"}});
  std::string wrong;
  if (result.timed_out) {
    wrong = path + ":" + std::to_string(step.line) + ": timed out\n";
  } else if (result.exit_code != step.exit_code) {
    wrong = path + ":" + std::to_string(step.line) + ": exit code " +
            std::to_string(result.exit_code) + " instead of " +
            std::to_string(step.exit_code) + "\n";
  }
  size_t out_line = 0;
  size_t err_line = 0;
  for (const Check& check : step.checks) {
    std::string problem;
    try {
      problem = Examine(check, result, out_line, err_line);
    } catch (const std::exception& error) {
      problem = error.what();
    }
    if (!problem.empty()) {
      wrong += path + ":" + std::to_string(check.line) + ": " + check.word +
               " " + check.rest + ": " + problem + "\n";
    }
  }
  if (wrong.empty()) {
    return true;
  }
  std::cout << wrong << "  command: " << step.command << "\n  stdout:\n"
            << result.out.substr(0, 8000) << "\n  stderr:\n"
            << result.err.substr(0, 8000) << "\n";
  return false;
}

bool RunCase(const std::string& path, const Case& one) {
  const TemporaryFolder folder;
  size_t next_file = 0;
  for (size_t i = 0; i < one.steps.size(); ++i) {
    for (;
         next_file < one.files.size() && one.files[next_file].before_step <= i;
         ++next_file) {
      std::ofstream(folder.path() + "/" + one.files[next_file].path)
          << one.files[next_file].text;
    }
    if (!RunStep(path, one.steps[i], folder.path())) {
      std::cout << "FAILED " << one.name << std::endl;
      return false;
    }
  }
  std::cout << "ok     " << one.name << std::endl;
  return true;
}

}  // namespace
}  // namespace fedlb::testing

// fedlb_run_cases FILE [NAME]: all cases of the file, or the one of that name.
int main(int argc, char** argv) {
  if (argc < 2) {
    std::cout << "usage: fedlb_run_cases FILE [NAME]\n";
    return 2;
  }
  try {
    int run = 0;
    int failed = 0;
    for (const auto& one : fedlb::testing::ParseCases(argv[1])) {
      if (argc > 2 && one.name != argv[2]) {
        continue;
      }
      ++run;
      failed += fedlb::testing::RunCase(argv[1], one) ? 0 : 1;
    }
    std::cout << run << " cases, " << failed << " failed\n";
    return run > 0 && failed == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::cout << error.what() << "\n";
    return 1;
  }
}
