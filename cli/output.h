// stdout: the result of a command in the format that was asked for.

#ifndef FEDLB_CLI_OUTPUT_H_
#define FEDLB_CLI_OUTPUT_H_

#include <string>
#include <vector>

#include "command.h"
#include "commands.h"

namespace fedlb::cli {

// The bytes for stdout, the last line end included.
//
//   table  the text; nothing when the command failed without one
//   json   {schema, command, status, exit_code, data, warnings} on one line,
//          and `error` {code, message} on failure
//   jsonl  one object per record
//   csv    a header and a line per record; nested objects become columns named
//          with dots
std::string FormatResult(OutputFormat format, const std::string& command,
                         const CommandOutcome& outcome,
                         const std::vector<std::string>& warnings);

// Writes all of `bytes` to stdout; 0, or the errno that stopped it.
int WriteStdout(const std::string& bytes);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_OUTPUT_H_
