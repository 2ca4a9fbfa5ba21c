// Digests of bytes that come in pieces.

#ifndef FEDLB_SRC_DIGEST_H_
#define FEDLB_SRC_DIGEST_H_

#include <cstddef>
#include <memory>
#include <string>

#include <openssl/evp.h>
#include <xxhash.h>

namespace fedlb {

class Sha256 {
 public:
  Sha256();

  void Update(const void* bytes, size_t size);
  // 64 hex digits; ends the digest.
  std::string Finish();

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

// XXH3 with 64 bits: finds accidents at memory speed, and no forgery.
class Xxh3 {
 public:
  Xxh3();

  void Update(const void* bytes, size_t size);
  // 16 hex digits.
  std::string Finish() const;

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> state_;
};

}  // namespace fedlb

#endif  // FEDLB_SRC_DIGEST_H_
