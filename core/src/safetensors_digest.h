// The digests that show that a safetensors file is what was written.

#ifndef FEDLB_SRC_SAFETENSORS_DIGEST_H_
#define FEDLB_SRC_SAFETENSORS_DIGEST_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "digest.h"

namespace fedlb {

inline constexpr char kSha256Key[] = "fedlb.sha256";
inline constexpr char kXxh3Key[] = "fedlb.xxh3";
inline constexpr char kHeaderDigestKey[] = "fedlb.header_xxh3";
// Written in the place of the header's digest while that is computed.
inline constexpr char kBlankDigest[] = "0000000000000000";
inline constexpr size_t kHeaderDigestSize = sizeof(kBlankDigest) - 1;

// Where the digits of the header's digest begin, in the form in which fedlb
// writes it, or npos.
size_t FindHeaderDigest(absl::string_view header);

// The digest of a header whose own digest is blank.
std::string HeaderDigest(absl::string_view blanked);

// The digests of the header and of the data come together: damage to the name
// of one of them would otherwise only take it out of use. kDataLoss.
absl::Status CheckHeaderDigest(
    std::string header, const std::map<std::string, std::string>& metadata);

// The digests of the data area that a file claims to have.
class DataDigests {
 public:
  explicit DataDigests(const std::map<std::string, std::string>& metadata);

  // Whether there are any.
  bool any() const { return sha256_.has_value() || xxh3_.has_value(); }
  // Takes the data in order.
  void Update(const void* bytes, size_t size);
  // kDataLoss.
  absl::Status Check();

 private:
  std::optional<Sha256> sha256_;
  std::optional<Xxh3> xxh3_;
  std::string expected_sha256_;
  std::string expected_xxh3_;
};

}  // namespace fedlb

#endif  // FEDLB_SRC_SAFETENSORS_DIGEST_H_
