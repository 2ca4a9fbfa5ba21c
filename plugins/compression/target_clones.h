// Functions that are compiled for several instruction sets.

#ifndef FEDLB_PLUGINS_COMPRESSION_TARGET_CLONES_H_
#define FEDLB_PLUGINS_COMPRESSION_TARGET_CLONES_H_

// The processor's best one runs. A sanitizer's runtime is not there yet when
// the loader would choose.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FEDLB_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define FEDLB_CLONES
#endif

#endif  // FEDLB_PLUGINS_COMPRESSION_TARGET_CLONES_H_
