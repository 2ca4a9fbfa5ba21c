#include "safetensors_digest.h"

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb {

std::string HeaderDigest(absl::string_view blanked) {
  Xxh3 digest;
  digest.Update(blanked.data(), blanked.size());
  return digest.Finish();
}

// In the text of another value the quotes would be escaped.
size_t FindHeaderDigest(absl::string_view header) {
  const std::string prefix = absl::StrCat("\"", kHeaderDigestKey, "\":\"");
  const size_t found = header.find(prefix);
  return found == absl::string_view::npos ? found : found + prefix.size();
}

absl::Status CheckHeaderDigest(
    std::string header, const std::map<std::string, std::string>& metadata) {
  const auto digest = metadata.find(kHeaderDigestKey);
  const bool has_header_digest = digest != metadata.end();
  if (has_header_digest !=
      (metadata.contains(kSha256Key) || metadata.contains(kXxh3Key))) {
    return absl::DataLossError(absl::StrCat(
        "of the digests ", kHeaderDigestKey, " and ", kSha256Key, " or ",
        kXxh3Key, " one is missing; a file has both or none"));
  }
  if (!has_header_digest) {
    return absl::OkStatus();
  }
  const std::string& expected = digest->second;
  const size_t position = FindHeaderDigest(header);
  if (position == absl::string_view::npos ||
      header.compare(position, kHeaderDigestSize, expected) != 0) {
    return absl::DataLossError(
        absl::StrCat(kHeaderDigestKey, " is not in the form fedlb writes"));
  }
  header.replace(position, kHeaderDigestSize, kBlankDigest);
  if (HeaderDigest(header) != expected) {
    return absl::DataLossError(
        absl::StrCat("the header does not match its digest ", kHeaderDigestKey,
                     "; it changed after it was written"));
  }
  return absl::OkStatus();
}

namespace {

absl::Status Mismatch(absl::string_view key) {
  return absl::DataLossError(absl::StrCat("the data does not match its digest ",
                                          key,
                                          "; it changed after it was written"));
}

}  // namespace

DataDigests::DataDigests(const std::map<std::string, std::string>& metadata) {
  if (const auto found = metadata.find(kSha256Key); found != metadata.end()) {
    expected_sha256_ = found->second;
    sha256_.emplace();
  }
  if (const auto found = metadata.find(kXxh3Key); found != metadata.end()) {
    expected_xxh3_ = found->second;
    xxh3_.emplace();
  }
}

void DataDigests::Update(const void* bytes, size_t size) {
  if (sha256_.has_value()) {
    sha256_->Update(bytes, size);
  }
  if (xxh3_.has_value()) {
    xxh3_->Update(bytes, size);
  }
}

absl::Status DataDigests::Check() {
  if (sha256_.has_value() && sha256_->Finish() != expected_sha256_) {
    return Mismatch(kSha256Key);
  }
  if (xxh3_.has_value() && xxh3_->Finish() != expected_xxh3_) {
    return Mismatch(kXxh3Key);
  }
  return absl::OkStatus();
}

}  // namespace fedlb
