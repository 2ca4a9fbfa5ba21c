#include "thrift/credentials.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"

namespace fedlb::thrift {
namespace {

constexpr int64_t kMaxFileBytes = 1 << 20;
// Shorter ones can be guessed.
constexpr size_t kShortestToken = 16;

}  // namespace

absl::StatusOr<std::map<int64_t, std::string>> ParseTokens(
    absl::string_view text, const std::string& path) {
  std::map<int64_t, std::string> tokens;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const auto failure = [&](absl::string_view what) {
      return UsageError(absl::StrCat(path, ":", number, ": ", what,
                                     "; a line is TOKEN or CLIENT TOKEN"));
    };
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') {
      continue;
    }
    const std::vector<std::string> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    int64_t client = kEveryClient;
    if (words.size() > 2 ||
        (words.size() == 2 &&
         (!absl::SimpleAtoi(words.front(), &client) || client < 0))) {
      return failure("this is neither");
    }
    if (words.back().size() < kShortestToken) {
      return failure(
          absl::StrCat("a token has at least ", kShortestToken, " characters"));
    }
    if (!tokens.emplace(client, words.back()).second) {
      return failure("a second token for the same");
    }
  }
  if (tokens.empty()) {
    return UsageError(absl::StrCat(path, ": no token in it"));
  }
  return tokens;
}

absl::StatusOr<std::map<int64_t, std::string>> ReadTokens(
    const std::string& path) {
  const absl::StatusOr<std::string> text = ReadWholeFile(path, kMaxFileBytes);
  if (!text.ok()) {
    return UsageError(
        absl::StrCat("transport.token_file: ", text.status().message()));
  }
  return ParseTokens(*text, path);
}

absl::StatusOr<std::string> TokenOf(
    const std::map<int64_t, std::string>& tokens,
    const std::vector<int64_t>& clients, const std::string& path) {
  std::string token;
  for (const int64_t client : clients) {
    auto own = tokens.find(client);
    if (own == tokens.end()) {
      own = tokens.find(kEveryClient);
    }
    if (own == tokens.end()) {
      return UsageError(
          absl::StrCat(path, ": no token for client ", client, " in it"));
    }
    if (!token.empty() && token != own->second) {
      return UsageError(absl::StrCat(
          path, ": the clients of one process need one token, and client ",
          client, " has another; start a process for each"));
    }
    token = own->second;
  }
  return token;
}

}  // namespace fedlb::thrift
