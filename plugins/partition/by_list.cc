#include "partition/by_list.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"

namespace fedlb::partition {
namespace {

constexpr int64_t kMaxFileBytes = int64_t{1} << 31;

// Digits only: SimpleAtoi would take signs too.
bool ReadNumber(absl::string_view word, int64_t* number) {
  return std::all_of(word.begin(), word.end(),
                     [](unsigned char c) { return absl::ascii_isdigit(c); }) &&
         absl::SimpleAtoi(word, number);
}

}  // namespace

ParamSchema<ByListOptions> ByList::Schema() {
  return ParamSchema<Options>().AddLocal(
      "path", &Options::path,
      "File with one line per client: the numbers of its training examples, "
      "counted from 0, separated by spaces or commas. A line that begins with "
      "# is a comment. Examples on no line are not used.");
}

absl::StatusOr<std::unique_ptr<ByList>> ByList::Create(
    const Options& options, const ComponentContext& /*context*/) {
  if (options.path.empty()) {
    return InputFileError(
        "partitioner by_list: set partitioner.path to the file with the "
        "shares");
  }
  const absl::StatusOr<std::string> text =
      ReadWholeFile(options.path, kMaxFileBytes);
  if (!text.ok()) {
    return InputFileError(absl::StrCat("partitioner.path = \"", options.path,
                                       "\": ", text.status().message()));
  }
  absl::StatusOr<std::vector<Share>> shares = ParseShares(*text);
  if (!shares.ok()) {
    return InputFileError(
        absl::StrCat(options.path, ":", shares.status().message()));
  }
  return std::unique_ptr<ByList>(new ByList(options, *std::move(shares)));
}

absl::StatusOr<std::vector<ByList::Share>> ByList::ParseShares(
    const std::string& text) {
  // The newline at the end of the last line begins no line.
  absl::string_view lines = text;
  if (!lines.empty() && lines.back() == '\n') {
    lines.remove_suffix(1);
  }
  std::vector<Share> shares;
  int64_t number = 0;
  for (const absl::string_view line : absl::StrSplit(lines, '\n')) {
    ++number;
    if (!line.empty() && line.front() == '#') {
      continue;
    }
    Share share;
    share.line = number;
    for (const absl::string_view word :
         absl::StrSplit(line, absl::ByAnyChar(" ,\t\r"), absl::SkipEmpty())) {
      int64_t example = 0;
      if (!ReadNumber(word, &example)) {
        return absl::InvalidArgumentError(
            absl::StrCat(number, ": \"", word.substr(0, 40),
                         "\" is not the number of an example"));
      }
      share.examples.push_back(example);
    }
    if (share.examples.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(number, ": client ", shares.size(),
                       " has no examples; every line is a client, and each "
                       "needs at least one"));
    }
    shares.push_back(std::move(share));
  }
  return shares;
}

absl::StatusOr<Partition> ByList::DoDeal(absl::Span<const int64_t> indices,
                                         absl::Span<const int64_t> labels,
                                         int64_t /*num_classes*/,
                                         int64_t num_clients) {
  if (static_cast<int64_t>(shares_.size()) != num_clients) {
    return InputFileError(
        absl::StrCat(options_.path, ": lists ", shares_.size(),
                     " clients; set federation.clients = ", shares_.size(),
                     " instead of ", num_clients));
  }
  std::vector<bool> to_deal(labels.size(), false);
  for (const int64_t index : indices) {
    to_deal[static_cast<size_t>(index)] = true;
  }
  std::vector<int64_t> line_of(labels.size(), 0);
  Partition partition(shares_.size());
  for (size_t client = 0; client < shares_.size(); ++client) {
    const Share& share = shares_[client];
    const std::string place =
        absl::StrCat(options_.path, ":", share.line, ": ");
    for (const int64_t example : share.examples) {
      const auto index = static_cast<size_t>(example);
      if (index >= labels.size()) {
        return InputFileError(absl::StrCat(place, "there is no example ",
                                           example, "; the train split has ",
                                           labels.size(), ", counted from 0"));
      }
      if (line_of[index] != 0) {
        return InputFileError(absl::StrCat(place, "example ", example,
                                           " is on line ", line_of[index],
                                           " already"));
      }
      line_of[index] = share.line;
      if (to_deal[index]) {
        partition[client].push_back(example);
      }
    }
    if (partition[client].empty()) {
      return InputFileError(
          absl::StrCat(place, "all examples of client ", client,
                       " are held back by dataset.validation_fraction or "
                       "dataset.limit_train"));
    }
  }
  return partition;
}

}  // namespace fedlb::partition
