// What a plugin and its host must have in common for C++ to work between them.

#ifndef FEDLB_FINGERPRINT_H_
#define FEDLB_FINGERPRINT_H_

// The first header of the standard library defines _GLIBCXX_USE_CXX11_ABI.
#include <cstddef>

#include "absl/base/config.h"
#include "fedlb/build_info.h"
#include "fedlb/export.h"

#define FEDLB_FINGERPRINT_QUOTE_(x) #x
#define FEDLB_FINGERPRINT_TEXT_(x) FEDLB_FINGERPRINT_QUOTE_(x)

#if defined(__clang__)
#define FEDLB_FINGERPRINT_COMPILER_ \
  "clang" FEDLB_FINGERPRINT_TEXT_(__clang_major__)
#else
#define FEDLB_FINGERPRINT_COMPILER_ "gcc" FEDLB_FINGERPRINT_TEXT_(__GNUC__)
#endif

#if defined(_GLIBCXX_USE_CXX11_ABI)
#define FEDLB_FINGERPRINT_ABI_ \
  "cxx11abi" FEDLB_FINGERPRINT_TEXT_(_GLIBCXX_USE_CXX11_ABI)
#else
#define FEDLB_FINGERPRINT_ABI_ "libcxx"
#endif

#if __cplusplus < 202002L
#error "fedlb needs C++20"
#elif __cplusplus == 202002L
#define FEDLB_FINGERPRINT_STANDARD_ "cxx20"
#else
#define FEDLB_FINGERPRINT_STANDARD_ "cxx23"
#endif

#if defined(NDEBUG)
#define FEDLB_FINGERPRINT_ASSERTS_ "ndebug"
#else
#define FEDLB_FINGERPRINT_ASSERTS_ "debug"
#endif

#if defined(ABSL_LTS_RELEASE_VERSION)
#define FEDLB_FINGERPRINT_ABSL_ \
  "absl-" FEDLB_FINGERPRINT_TEXT_(ABSL_LTS_RELEASE_VERSION)
#else
#define FEDLB_FINGERPRINT_ABSL_ "absl-head"
#endif

#if defined(ABSL_HAVE_ADDRESS_SANITIZER)
#define FEDLB_FINGERPRINT_SANITIZER_ "san-address"
#elif defined(ABSL_HAVE_THREAD_SANITIZER)
#define FEDLB_FINGERPRINT_SANITIZER_ "san-thread"
#else
#define FEDLB_FINGERPRINT_SANITIZER_ "san-none"
#endif

// A string literal, for example
//   "sdk-93ef45f5ec87;gcc12;cxx11abi1;cxx20;ndebug;absl-20220623;torch-2.11.0;
//    san-none"
// on one line. Every part but the SDK's hash and the version of LibTorch is
// that of the translation unit that expands it.
#define FEDLB_BUILD_FINGERPRINT                                       \
  "sdk-" FEDLB_SDK_HASH ";" FEDLB_FINGERPRINT_COMPILER_               \
  ";" FEDLB_FINGERPRINT_ABI_ ";" FEDLB_FINGERPRINT_STANDARD_          \
  ";" FEDLB_FINGERPRINT_ASSERTS_ ";" FEDLB_FINGERPRINT_ABSL_          \
  ";torch-" FEDLB_TORCH_VERSION ";" FEDLB_FINGERPRINT_SANITIZER_

namespace fedlb {

// The fingerprint of the core library that this process runs.
FEDLB_API const char* HostFingerprint();

// The version of the core library, "0.1.0".
FEDLB_API const char* HostVersion();

}  // namespace fedlb

#endif  // FEDLB_FINGERPRINT_H_
