#include "sampling/trace.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "fedlb/status.h"

namespace fedlb::sampling {
namespace {

constexpr int64_t kForever = std::numeric_limits<int64_t>::max();

// Digits only: SimpleAtoi would take signs and spaces too.
bool ReadNumber(absl::string_view text, int64_t* number) {
  text = absl::StripAsciiWhitespace(text);
  return !text.empty() &&
         std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return absl::ascii_isdigit(c); }) &&
         absl::SimpleAtoi(text, number);
}

// "3, 5-7"; with `open_ends` also "9-".
absl::StatusOr<std::vector<std::pair<int64_t, int64_t>>> ReadRanges(
    absl::string_view text, bool open_ends) {
  std::vector<std::pair<int64_t, int64_t>> ranges;
  for (const absl::string_view item : absl::StrSplit(text, ',')) {
    const std::pair<absl::string_view, absl::string_view> ends =
        absl::StrSplit(item, absl::MaxSplits('-', 1));
    const bool is_range = absl::StrContains(item, '-');
    int64_t first = 0;
    int64_t last = kForever;
    bool good = ReadNumber(ends.first, &first);
    if (!is_range) {
      last = first;
    } else if (!open_ends || !absl::StripAsciiWhitespace(ends.second).empty()) {
      good = good && ReadNumber(ends.second, &last) && last >= first;
    }
    if (!good) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", absl::StripAsciiWhitespace(item),
                       "\" is neither a number nor a range such as ",
                       open_ends ? "0-99 or 200-" : "0-4"));
    }
    ranges.emplace_back(first, last);
  }
  return ranges;
}

}  // namespace

absl::Status Trace::AddLine(absl::string_view line) {
  line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
  if (line.empty()) {
    return absl::OkStatus();
  }
  const std::vector<absl::string_view> sides = absl::StrSplit(line, ':');
  if (sides.size() != 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", line,
        "\" is not of the form CLIENTS: ROUNDS, such as 0-4: 0-99"));
  }
  FEDLB_ASSIGN_OR_RETURN(const std::vector<Range> clients,
                         ReadRanges(sides[0], /*open_ends=*/false));
  FEDLB_ASSIGN_OR_RETURN(const std::vector<Range> rounds,
                         ReadRanges(sides[1], /*open_ends=*/true));
  for (const Range& range : clients) {
    if (range.second >= num_clients_) {
      return absl::InvalidArgumentError(
          absl::StrCat("there is no client ", range.second,
                       ": federation.clients = ", num_clients_));
    }
  }
  rounds_.resize(static_cast<size_t>(num_clients_));
  for (const Range& range : clients) {
    for (int64_t client = range.first; client <= range.second; ++client) {
      std::vector<Range>& own = rounds_[static_cast<size_t>(client)];
      own.insert(own.end(), rounds.begin(), rounds.end());
    }
  }
  return absl::OkStatus();
}

bool Trace::IsAvailable(int64_t client, int64_t round) const {
  if (rounds_.empty()) {
    return true;
  }
  const auto place = static_cast<size_t>(client);
  return place < rounds_.size() &&
         std::any_of(rounds_[place].begin(), rounds_[place].end(),
                     [round](const Range& range) {
                       return range.first <= round && round <= range.second;
                     });
}

}  // namespace fedlb::sampling
