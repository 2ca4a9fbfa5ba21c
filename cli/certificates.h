// X.509 certificates with keys of their own, signed by an authority of one's
// own.

#ifndef FEDLB_CLI_CERTIFICATES_H_
#define FEDLB_CLI_CERTIFICATES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "absl/status/statusor.h"

namespace fedlb::cli {

// As PEM.
struct IssuedCertificate {
  std::string certificate;
  std::string key;
};

class CertificateAuthority {
 public:
  // With a new key, on the curve P-256.
  static absl::StatusOr<CertificateAuthority> Make(int64_t days);
  // kInputFile: no certificate and key in PEM that belong together.
  static absl::StatusOr<CertificateAuthority> Parse(
      const std::string& certificate, const std::string& key);

  absl::StatusOr<IssuedCertificate> Own() const;

  enum class Use { kServer, kClient };
  // `name` is the subject; `alternative_names` as "DNS:host", "IP:address",
  // "URI:text".
  absl::StatusOr<IssuedCertificate> Issue(
      Use use, const std::string& name,
      const std::vector<std::string>& alternative_names, int64_t days) const;

 private:
  struct Free {
    void operator()(X509* certificate) const { X509_free(certificate); }
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  };
  using Certificate = std::unique_ptr<X509, Free>;
  using Key = std::unique_ptr<EVP_PKEY, Free>;

  static absl::StatusOr<IssuedCertificate> ToPem(X509* certificate,
                                                 EVP_PKEY* key);
  // An unsigned certificate for a new key, with what all of them have.
  static absl::Status Begin(const std::string& name, int64_t days,
                            Certificate& certificate, Key& key);

  Certificate certificate_;
  Key key_;
};

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_CERTIFICATES_H_
