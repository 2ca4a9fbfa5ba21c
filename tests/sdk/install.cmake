# Installs BUILD and moves the result to PREFIX: nothing in an installation may
# know where it was put.

set(first ${PREFIX}.first)
file(REMOVE_RECURSE ${PREFIX} ${first})
execute_process(
  COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${first}
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME ${first} ${PREFIX})

foreach(file IN ITEMS bin/fedlb lib/libfedlb_core.so include/fedlb/plugin.h
    include/fedlb/testing/expect_conforms.h lib/cmake/fedlb/fedlb-config.cmake)
  if(NOT EXISTS ${PREFIX}/${file})
    message(FATAL_ERROR "the installation lacks ${file}")
  endif()
endforeach()
