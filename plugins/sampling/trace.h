// Which clients are available in which rounds, as lines of text say.

#ifndef FEDLB_SAMPLING_TRACE_H_
#define FEDLB_SAMPLING_TRACE_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace fedlb::sampling {

// A line is
//   CLIENTS: ROUNDS       such as   0-4, 7: 0-99, 200-
// where both sides are lists of numbers and of ranges that include their ends;
// a range of rounds without an end never ends. Lines for the same client add
// up. What follows a # is a comment, and empty lines are skipped.
class Trace {
 public:
  explicit Trace(int64_t num_clients) : num_clients_(num_clients) {}

  // kInvalidArgument saying what is wrong with the line.
  absl::Status AddLine(absl::string_view line);

  // Without any line that says something, everybody always is.
  bool IsAvailable(int64_t client, int64_t round) const;

 private:
  using Range = std::pair<int64_t, int64_t>;  // first and last

  const int64_t num_clients_;
  // The rounds of each client; empty as long as there is no line.
  std::vector<std::vector<Range>> rounds_;
};

}  // namespace fedlb::sampling

#endif  // FEDLB_SAMPLING_TRACE_H_
