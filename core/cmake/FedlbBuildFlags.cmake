# fedlb_build_flags: what this project's own targets compile and link with.
# Nothing here is part of the SDK.
add_library(fedlb_build_flags INTERFACE)

# GCC's flow analysis warns of optionals and strings that are inlined from
# correct library code; those warnings are shown but never errors.
set(cxx_warnings
  -Wall -Wextra -Wnon-virtual-dtor -Woverloaded-virtual
  -Wno-missing-field-initializers)
if(FEDLB_WERROR)
  list(APPEND cxx_warnings -Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND cxx_warnings
      -Wno-error=maybe-uninitialized -Wno-error=array-bounds
      -Wno-error=stringop-overflow -Wno-error=stringop-overread
      -Wno-error=restrict -Wno-error=free-nonheap-object)
  endif()
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
