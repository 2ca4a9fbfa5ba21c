// Tokens: the simple alternative to certificates.

#ifndef FEDLB_TRANSPORTS_THRIFT_CREDENTIALS_H_
#define FEDLB_TRANSPORTS_THRIFT_CREDENTIALS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fedlb::thrift {

// What stands for clients that have no token of their own.
inline constexpr int64_t kEveryClient = -1;

// Lines "TOKEN", for every client, or "CLIENT TOKEN"; empty lines and those
// that begin with # are passed over. kUsage naming file and line.
absl::StatusOr<std::map<int64_t, std::string>> ParseTokens(
    absl::string_view text, const std::string& path);
absl::StatusOr<std::map<int64_t, std::string>> ReadTokens(
    const std::string& path);

// The one token of all `clients`. kUsage when there is none or more than one.
absl::StatusOr<std::string> TokenOf(
    const std::map<int64_t, std::string>& tokens,
    const std::vector<int64_t>& clients, const std::string& path);

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_CREDENTIALS_H_
