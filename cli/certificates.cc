#include "certificates.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "fedlb/status.h"

namespace fedlb::cli {
namespace {

constexpr char kCurve[] = "P-256";
constexpr int kSerialBits = 127;  // positive, in 16 bytes
constexpr int64_t kSecondsPerDay = 24 * 60 * 60;
// Clocks differ.
constexpr long kBackdateSeconds = -300;
constexpr long kVersion3 = 2;

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;

absl::Status Failure(absl::string_view step) {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return absl::InternalError(absl::StrCat(
      step, ": ", reason != nullptr ? reason : "no reason is known"));
}

// "basicConstraints", "critical,CA:TRUE"; the issuer is needed for key
// identifiers.
absl::Status Extend(X509* certificate, X509* issuer, int nid,
                    const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  const bool added =
      extension != nullptr && X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added ? absl::OkStatus() : Failure(value);
}

std::string TakeText(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

}  // namespace

absl::StatusOr<IssuedCertificate> CertificateAuthority::ToPem(X509* certificate,
                                                              EVP_PKEY* key) {
  const Bio certificate_text(BIO_new(BIO_s_mem()));
  const Bio key_text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(certificate_text.get(), certificate) != 1 ||
      PEM_write_bio_PrivateKey(key_text.get(), key, nullptr, nullptr, 0,
                               nullptr, nullptr) != 1) {
    return Failure("writing PEM");
  }
  return IssuedCertificate{TakeText(certificate_text.get()),
                           TakeText(key_text.get())};
}

absl::Status CertificateAuthority::Begin(const std::string& name, int64_t days,
                                         Certificate& certificate, Key& key) {
  key.reset(EVP_EC_gen(kCurve));
  certificate.reset(X509_new());
  if (key == nullptr || certificate == nullptr) {
    return Failure("making a key");
  }
  BIGNUM* number = BN_new();
  const bool has_serial =
      BN_rand(number, kSerialBits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
      BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.get())) !=
          nullptr;
  BN_free(number);
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  if (!has_serial || X509_set_version(certificate.get(), kVersion3) != 1 ||
      X509_NAME_add_entry_by_txt(
          subject, "CN", MBSTRING_UTF8,
          reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
          0) != 1 ||
      X509_gmtime_adj(X509_getm_notBefore(certificate.get()),
                      kBackdateSeconds) == nullptr ||
      X509_gmtime_adj(X509_getm_notAfter(certificate.get()),
                      days * kSecondsPerDay) == nullptr ||
      X509_set_pubkey(certificate.get(), key.get()) != 1) {
    return Failure("making a certificate");
  }
  return absl::OkStatus();
}

absl::StatusOr<CertificateAuthority> CertificateAuthority::Make(int64_t days) {
  CertificateAuthority authority;
  // Names differ: of two with one name a verifier would take the wrong key.
  std::random_device random;
  FEDLB_RETURN_IF_ERROR(
      Begin(absl::StrFormat("fedlb federation %08x", random()), days,
            authority.certificate_, authority.key_));
  X509* certificate = authority.certificate_.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  for (const auto& [nid, value] :
       {std::pair(NID_basic_constraints, "critical,CA:TRUE,pathlen:0"),
        std::pair(NID_key_usage, "critical,keyCertSign,cRLSign"),
        std::pair(NID_subject_key_identifier, "hash")}) {
    FEDLB_RETURN_IF_ERROR(Extend(certificate, certificate, nid, value));
  }
  if (X509_sign(certificate, authority.key_.get(), EVP_sha256()) == 0) {
    return Failure("signing");
  }
  return authority;
}

absl::StatusOr<CertificateAuthority> CertificateAuthority::Parse(
    const std::string& certificate, const std::string& key) {
  CertificateAuthority authority;
  const Bio certificate_text(BIO_new_mem_buf(
      certificate.data(), static_cast<int>(certificate.size())));
  const Bio key_text(BIO_new_mem_buf(key.data(), static_cast<int>(key.size())));
  authority.certificate_.reset(
      PEM_read_bio_X509(certificate_text.get(), nullptr, nullptr, nullptr));
  // Without a callback OpenSSL would ask the terminal for a password.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  authority.key_.reset(
      PEM_read_bio_PrivateKey(key_text.get(), nullptr, no_password, nullptr));
  if (authority.certificate_ == nullptr || authority.key_ == nullptr ||
      X509_check_private_key(authority.certificate_.get(),
                             authority.key_.get()) != 1) {
    return InputFileError(std::string(
        Failure("not a certificate and its key, in PEM and without a password")
            .message()));
  }
  return authority;
}

absl::StatusOr<IssuedCertificate> CertificateAuthority::Own() const {
  return ToPem(certificate_.get(), key_.get());
}

absl::StatusOr<IssuedCertificate> CertificateAuthority::Issue(
    Use use, const std::string& name,
    const std::vector<std::string>& alternative_names, int64_t days) const {
  Certificate certificate;
  Key key;
  FEDLB_RETURN_IF_ERROR(Begin(name, days, certificate, key));
  X509_set_issuer_name(certificate.get(),
                       X509_get_subject_name(certificate_.get()));
  for (const auto& [nid, value] :
       {std::pair<int, std::string>(NID_basic_constraints, "critical,CA:FALSE"),
        std::pair<int, std::string>(NID_key_usage, "critical,digitalSignature"),
        std::pair<int, std::string>(NID_ext_key_usage, use == Use::kServer
                                                           ? "serverAuth"
                                                           : "clientAuth"),
        std::pair<int, std::string>(NID_subject_alt_name,
                                    absl::StrJoin(alternative_names, ","))}) {
    FEDLB_RETURN_IF_ERROR(
        Extend(certificate.get(), certificate_.get(), nid, value));
  }
  if (X509_sign(certificate.get(), key_.get(), EVP_sha256()) == 0) {
    return Failure("signing");
  }
  return ToPem(certificate.get(), key.get());
}

}  // namespace fedlb::cli
