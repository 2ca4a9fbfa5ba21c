// Mutual TLS: which certificate stands for which clients.

#ifndef FEDLB_TRANSPORTS_THRIFT_TLS_H_
#define FEDLB_TRANSPORTS_THRIFT_TLS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <thrift/transport/TSSLSocket.h>

#include "absl/status/statusor.h"

namespace fedlb::thrift {

// PEM files: who is trusted, and who one is.
struct TlsFiles {
  std::string ca;
  std::string certificate;
  std::string key;

  bool empty() const { return ca.empty(); }
};

// A connection whose peer has shown a certificate that the CA signed. On the
// client's side it names the server's host (RFC 6125: alternative names only,
// no wildcard without a domain); on the server's side it names clients.
class TlsSocket final : public apache::thrift::transport::TSSLSocket {
 public:
  // The clients that the peer's certificate names, as alternative names
  // "URI:fedlb:client:<number>". Empty before the handshake.
  const std::vector<int64_t>& clients() const { return clients_; }

 private:
  friend class TlsSocketFactory;
  using TSSLSocket::TSSLSocket;

  // Throws TSSLException saying what is wrong with the peer's certificate.
  void authorize() override;

  std::vector<int64_t> clients_;
};

// Makes TlsSockets. TLS 1.2 or later, peers must show a certificate.
class TlsSocketFactory final
    : public apache::thrift::transport::TSSLSocketFactory {
 public:
  // kUsage naming the file that cannot be read, or that does not belong to the
  // others, with the reason.
  static absl::StatusOr<std::shared_ptr<TlsSocketFactory>> Create(
      const TlsFiles& files, bool server);

  std::shared_ptr<apache::thrift::transport::TSSLSocket> createSocket(
      int socket) override;
  std::shared_ptr<apache::thrift::transport::TSSLSocket> createSocket(
      const std::string& host, int port) override;

 private:
  TlsSocketFactory() = default;
};

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_TLS_H_
