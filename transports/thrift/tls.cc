#include "thrift/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "fedlb/status.h"

namespace fedlb::thrift {
namespace {

using apache::thrift::transport::TSSLException;
using apache::thrift::transport::TSSLSocket;

constexpr char kClientUri[] = "fedlb:client:";

std::string OpenSslReason() {
  const unsigned long error = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(error);
  return reason != nullptr ? reason : "no reason is known";
}

struct FreeCertificate {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using Certificate = std::unique_ptr<X509, FreeCertificate>;

// The numbers of all names "URI:fedlb:client:<number>".
std::vector<int64_t> ClientsOf(X509* certificate) {
  std::vector<int64_t> clients;
  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI) {
      continue;
    }
    const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
    absl::string_view text(
        reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
        static_cast<size_t>(ASN1_STRING_length(uri)));
    int64_t client = 0;
    if (absl::ConsumePrefix(&text, kClientUri) &&
        absl::SimpleAtoi(text, &client)) {
      clients.push_back(client);
    }
  }
  GENERAL_NAMES_free(names);
  return clients;
}

bool NamesHost(X509* certificate, const std::string& host) {
  in6_addr address;
  const bool is_address = inet_pton(AF_INET, host.c_str(), &address) == 1 ||
                          inet_pton(AF_INET6, host.c_str(), &address) == 1;
  constexpr unsigned int kFlags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                  X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
  return (is_address ? X509_check_ip_asc(certificate, host.c_str(), kFlags)
                     : X509_check_host(certificate, host.data(), host.size(),
                                       kFlags, nullptr)) == 1;
}

}  // namespace

void TlsSocket::authorize() {
  const Certificate certificate(SSL_get1_peer_certificate(ssl_));
  if (certificate == nullptr) {
    throw TSSLException("the peer shows no certificate");
  }
  const long verified = SSL_get_verify_result(ssl_);
  if (verified != X509_V_OK) {
    throw TSSLException(absl::StrCat("the peer's certificate is refused: ",
                                     X509_verify_cert_error_string(verified)));
  }
  if (server()) {
    clients_ = ClientsOf(certificate.get());
    if (clients_.empty()) {
      throw TSSLException(
          absl::StrCat("the peer's certificate names no client (an alternative "
                       "name URI:",
                       kClientUri, "<number>)"));
    }
  } else if (!NamesHost(certificate.get(), getHost())) {
    throw TSSLException(absl::StrCat(
        "the server's certificate does not name the host ", getHost(),
        "; connect to a name that it has, or make one that has this name"));
  }
}

absl::StatusOr<std::shared_ptr<TlsSocketFactory>> TlsSocketFactory::Create(
    const TlsFiles& files, bool server) {
  std::shared_ptr<TlsSocketFactory> factory(new TlsSocketFactory());
  SSL_CTX* context = factory->ctx_->get();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  ERR_clear_error();
  const auto failure = [](absl::string_view key, const std::string& file) {
    return UsageError(
        absl::StrCat("transport.", key, ": ", file, ": ", OpenSslReason()));
  };
  if (SSL_CTX_load_verify_locations(context, files.ca.c_str(), nullptr) != 1) {
    return failure("ca_file", files.ca);
  }
  if (SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) !=
      1) {
    return failure("certificate_file", files.certificate);
  }
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(),
                                  SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    return failure("key_file", files.key);
  }
  factory->server(server);
  factory->authenticate(true);
  return factory;
}

std::shared_ptr<TSSLSocket> TlsSocketFactory::createSocket(int socket) {
  std::shared_ptr<TlsSocket> made(new TlsSocket(ctx_, socket));
  made->server(server());
  return made;
}

std::shared_ptr<TSSLSocket> TlsSocketFactory::createSocket(
    const std::string& host, int port) {
  std::shared_ptr<TlsSocket> made(new TlsSocket(ctx_, host, port));
  made->server(server());
  return made;
}

}  // namespace fedlb::thrift
