#include "digest.h"

#include <cstdint>
#include <new>

// For the widest vectors that the processor has; the plain functions use the
// narrowest.
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>
#endif

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace fedlb {
namespace {

void UpdateXxh3(XXH3_state_t* state, const void* bytes, size_t size) {
#if defined(__x86_64__)
  XXH3_64bits_update_dispatch(state, bytes, size);
#else
  XXH3_64bits_update(state, bytes, size);
#endif
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  // Nothing but a lack of memory makes these calls fail.
  if (context_ == nullptr ||
      EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) {
    throw std::bad_alloc();
  }
}

void Sha256::Update(const void* bytes, size_t size) {
  EVP_DigestUpdate(context_.get(), bytes, size);
}

std::string Sha256::Finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(context_.get(), digest, &size);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), size));
}

Xxh3::Xxh3() : state_(XXH3_createState()) {
  if (state_ == nullptr) {
    throw std::bad_alloc();
  }
  XXH3_64bits_reset(state_.get());
}

void Xxh3::Update(const void* bytes, size_t size) {
  UpdateXxh3(state_.get(), bytes, size);
}

std::string Xxh3::Finish() const {
  return absl::StrCat(
      absl::Hex(uint64_t{XXH3_64bits_digest(state_.get())}, absl::kZeroPad16));
}

}  // namespace fedlb
