// Where a server listens: HOST:PORT, or unix:PATH.

#ifndef FEDLB_TRANSPORTS_THRIFT_ENDPOINT_H_
#define FEDLB_TRANSPORTS_THRIFT_ENDPOINT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fedlb::thrift {

struct Endpoint {
  std::string host;  // without brackets
  int port = 0;
  std::string path;  // of a Unix socket; empty otherwise

  bool is_unix() const { return !path.empty(); }
  // Whether nobody on another machine can reach it, or hear what is said.
  bool is_local() const;
  std::string ToString() const;
};

// "127.0.0.1:7070", "[::1]:7070", "server.example:7070",
// "unix:/run/fedlb.sock". kConfig says what is wrong with `text`.
absl::StatusOr<Endpoint> ParseEndpoint(absl::string_view text);

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_ENDPOINT_H_
