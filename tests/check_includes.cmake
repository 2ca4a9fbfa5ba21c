# Checks the direction of dependencies by the #include lines of every source:
#   cmake -DROOT=<repository> -P check_includes.cmake
cmake_minimum_required(VERSION 3.25)
set(broken "")

# Every file under the folders whose include matches `pattern` breaks the rule,
# unless the file's path matches `except`.
function(forbid rule pattern except)
  foreach(folder IN LISTS ARGN)
    file(GLOB_RECURSE files RELATIVE ${ROOT}
      ${ROOT}/${folder}/*.h ${ROOT}/${folder}/*.cc ${ROOT}/${folder}/*.cu)
    foreach(file IN LISTS files)
      if(except AND file MATCHES "${except}")
        continue()
      endif()
      file(STRINGS ${ROOT}/${file} lines REGEX "^#include ${pattern}")
      foreach(line IN LISTS lines)
        string(APPEND broken "${file}: ${line}: ${rule}\n")
      endforeach()
    endforeach()
  endforeach()
  set(broken "${broken}" PARENT_SCOPE)
endfunction()

set(sources core cli plugins teacher transports)
forbid("core depends on no other folder"
  "\"(cli|plugins|teacher|transports|tests)/" "" core)
forbid("only tests may see tests" "\"tests/" "" ${sources})
forbid("CLI11 stays in cli/" "<CLI/" "" core plugins teacher transports)
forbid("Boost.DLL stays in the plugin loader" "<boost/dll"
  "^core/src/plugin_loader\\.cc$" ${sources})
forbid("toml++ stays in config.cc" "<toml\\+\\+" "^core/src/config\\.cc$"
  ${sources})
forbid("Thrift stays in its transport" "<thrift/" "^transports/thrift/"
  ${sources})
forbid("public headers take light headers only: the standard library, Abseil, <ATen/core/Tensor.h>"
  "<(torch|c10|boost|nlohmann|openssl|ATen/(ATen|ops|[a-z]*/[^T]))"
  "^core/include/fedlb/testing/" core/include)

# A plugin includes the SDK, third parties and its own folder.
file(GLOB folders RELATIVE ${ROOT} ${ROOT}/plugins/* ${ROOT}/transports/*)
foreach(folder IN LISTS folders)
  if(NOT IS_DIRECTORY ${ROOT}/${folder})
    continue()
  endif()
  get_filename_component(own ${folder} NAME)
  foreach(other IN LISTS folders)
    get_filename_component(name ${other} NAME)
    if(IS_DIRECTORY ${ROOT}/${other} AND NOT name STREQUAL own)
      forbid("plugins never include one another" "\"${name}/" "" ${folder})
    endif()
  endforeach()
endforeach()

if(broken)
  message(FATAL_ERROR "\n${broken}")
endif()
