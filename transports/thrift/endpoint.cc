#include "thrift/endpoint.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "fedlb/status.h"

namespace fedlb::thrift {

bool Endpoint::is_local() const {
  in_addr address = {};
  return is_unix() || host == "localhost" || host == "::1" ||
         (inet_pton(AF_INET, host.c_str(), &address) == 1 &&
          ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET);
}

std::string Endpoint::ToString() const {
  if (is_unix()) {
    return absl::StrCat("unix:", path);
  }
  return absl::StrContains(host, ":") ? absl::StrCat("[", host, "]:", port)
                                      : absl::StrCat(host, ":", port);
}

absl::StatusOr<Endpoint> ParseEndpoint(absl::string_view text) {
  const auto failure = [text](absl::string_view what) {
    return ConfigError(absl::StrCat("'", text, "' ", what,
                                    "; write HOST:PORT, [IPV6]:PORT or "
                                    "unix:PATH"));
  };
  Endpoint endpoint;
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "unix:")) {
    endpoint.path = std::string(rest);
    if (rest.empty()) {
      return failure("names no socket");
    }
    if (rest.size() >= sizeof(sockaddr_un::sun_path)) {
      return failure(absl::StrCat("is longer than the ",
                                  sizeof(sockaddr_un::sun_path) - 1,
                                  " bytes of a socket's path"));
    }
    return endpoint;
  }
  const size_t colon = rest.rfind(':');
  if (colon == absl::string_view::npos) {
    return failure("has no port");
  }
  absl::string_view host = rest.substr(0, colon);
  const absl::string_view port = rest.substr(colon + 1);
  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]")) {
      return failure("has a bracket that does not close");
    }
  } else if (absl::StrContains(host, ":")) {
    return failure("has an IPv6 address without brackets");
  }
  if (host.empty()) {
    return failure("has no host");
  }
  if (!absl::SimpleAtoi(port, &endpoint.port) || endpoint.port < 0 ||
      endpoint.port > 65535) {
    return failure("has no port from 0 to 65535");
  }
  endpoint.host = std::string(host);
  return endpoint;
}

}  // namespace fedlb::thrift
