# fedlb_build_flags: what this project's own targets compile and link with.
# Nothing here is part of the SDK.
add_library(fedlb_build_flags INTERFACE)

set(cxx_warnings
  -Wall -Wextra -Wnon-virtual-dtor -Woverloaded-virtual
  -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12's flow analysis warns at length of variants and strings inlined from
  # correct library code. The sanitizer presets look for the real thing.
  list(APPEND cxx_warnings
    -Wno-maybe-uninitialized -Wno-array-bounds -Wno-stringop-overflow
    -Wno-stringop-overread -Wno-restrict -Wno-free-nonheap-object)
endif()
if(FEDLB_WERROR)
  list(APPEND cxx_warnings -Werror)
endif()
target_compile_options(fedlb_build_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:${cxx_warnings}>")

# LibTorch exports 10^5 symbols: GNU ld spends seconds on every program.
find_program(FEDLB_LLD ld.lld)
mark_as_advanced(FEDLB_LLD)
if(FEDLB_LLD)
  target_link_options(fedlb_build_flags INTERFACE
    $<$<LINK_LANGUAGE:CXX>:-fuse-ld=lld>)
endif()
