# Finds LibTorch without loading its own CMake package, which insists on a whole
# CUDA toolkit even for programs that never touch a GPU.
#
# Searched in this order: Torch_DIR and CMAKE_PREFIX_PATH (variable, then
# environment), in the layout of the zip and of the Python wheel; the LibTorch
# that an installed fedlb was built with; <checkout>/.deps/torch-*.
#
# Targets:   fedlb::torch        ATen, c10 and the C++ frontend, CPU part
#            fedlb::torch_cuda   the CUDA part, where the LibTorch has one
# Variables: LibTorch_FOUND, LibTorch_VERSION, LibTorch_ROOT_DIR,
#            LibTorch_CUDA_MAJOR (empty in a CPU build)

set(_torch_candidates)
foreach(_dir IN ITEMS "${Torch_DIR}" "$ENV{Torch_DIR}")
  if(_dir)
    list(APPEND _torch_candidates "${_dir}/../../.." "${_dir}")
  endif()
endforeach()
set(_torch_env_prefixes "$ENV{CMAKE_PREFIX_PATH}")
string(REPLACE ":" ";" _torch_env_prefixes "${_torch_env_prefixes}")
foreach(_dir IN LISTS CMAKE_PREFIX_PATH _torch_env_prefixes)
  list(APPEND _torch_candidates
    "${_dir}" "${_dir}/torch" "${_dir}/libtorch" "${_dir}/../..")
endforeach()
if(FEDLB_TORCH_HINT)
  list(APPEND _torch_candidates "${FEDLB_TORCH_HINT}")
endif()
foreach(_version IN ITEMS 2.11.0)
  list(APPEND _torch_candidates
    "${CMAKE_CURRENT_LIST_DIR}/../../.deps/torch-${_version}/torch")
endforeach()

set(LibTorch_FOUND FALSE)
set(LibTorch_ROOT_DIR)
foreach(_dir IN LISTS _torch_candidates)
  if(EXISTS "${_dir}/include/ATen/core/Tensor.h"
     AND EXISTS "${_dir}/lib/libtorch_cpu.so")
    get_filename_component(LibTorch_ROOT_DIR "${_dir}" REALPATH)
    break()
  endif()
endforeach()

set(_torch_reason)
if(NOT LibTorch_ROOT_DIR)
  set(_torch_reason "LibTorch not found: run scripts/setup.sh, which fetches \
it, or pass -DCMAKE_PREFIX_PATH=<folder of a LibTorch>")
else()
  set(LibTorch_VERSION)
  foreach(_file IN ITEMS
      torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
    if(NOT LibTorch_VERSION AND EXISTS "${LibTorch_ROOT_DIR}/include/${_file}")
      file(READ "${LibTorch_ROOT_DIR}/include/${_file}" _text)
      set(_parts)
      foreach(_part IN ITEMS MAJOR MINOR PATCH)
        if(_text MATCHES "TORCH_VERSION_${_part} ([0-9]+)")
          list(APPEND _parts ${CMAKE_MATCH_1})
        endif()
      endforeach()
      list(JOIN _parts "." LibTorch_VERSION)
    endif()
  endforeach()
  if(LibTorch_VERSION VERSION_LESS 2.11)
    set(_torch_reason "LibTorch ${LibTorch_VERSION} in ${LibTorch_ROOT_DIR} \
is too old: fedlb needs 2.11 or later (scripts/setup.sh fetches 2.11.0)")
  endif()
  if(LibTorch_FIND_VERSION_EXACT
     AND NOT LibTorch_VERSION VERSION_EQUAL LibTorch_FIND_VERSION)
    set(_torch_reason "LibTorch ${LibTorch_VERSION} in ${LibTorch_ROOT_DIR} \
does not fit: this fedlb was built with ${LibTorch_FIND_VERSION}")
  endif()
endif()

if(_torch_reason)
  if(LibTorch_FIND_REQUIRED)
    message(FATAL_ERROR "${_torch_reason}")
  endif()
  set(LibTorch_NOT_FOUND_MESSAGE "${_torch_reason}")
  return()
endif()
set(LibTorch_FOUND TRUE)

set(LibTorch_CUDA_MAJOR)
if(EXISTS "${LibTorch_ROOT_DIR}/lib/libtorch_cuda.so"
   AND EXISTS "${LibTorch_ROOT_DIR}/lib/libc10_cuda.so"
   AND EXISTS "${LibTorch_ROOT_DIR}/include/c10/cuda/CUDAStream.h")
  foreach(_file IN ITEMS version.py build-version)
    if(NOT LibTorch_CUDA_MAJOR AND EXISTS "${LibTorch_ROOT_DIR}/${_file}")
      file(READ "${LibTorch_ROOT_DIR}/${_file}" _text)
      # "2.11.0+cu130": the last digit is the minor version.
      if(_text MATCHES "\\+cu([0-9]+)[0-9]")
        set(LibTorch_CUDA_MAJOR ${CMAKE_MATCH_1})
      endif()
    endif()
  endforeach()
endif()

if(NOT TARGET fedlb::torch)
  foreach(_name IN ITEMS torch_cpu c10)
    add_library(fedlb::${_name} SHARED IMPORTED GLOBAL)
    set_target_properties(fedlb::${_name} PROPERTIES
      IMPORTED_LOCATION "${LibTorch_ROOT_DIR}/lib/lib${_name}.so")
  endforeach()
  add_library(fedlb::torch INTERFACE IMPORTED GLOBAL)
  target_include_directories(fedlb::torch SYSTEM INTERFACE
    "${LibTorch_ROOT_DIR}/include"
    "${LibTorch_ROOT_DIR}/include/torch/csrc/api/include")
  target_compile_definitions(fedlb::torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
  target_link_libraries(fedlb::torch INTERFACE fedlb::torch_cpu fedlb::c10)
  # at::parallel_for is a template and starts threads only in what is compiled
  # for OpenMP. A wheel brings its own runtime, and a process can have but one.
  find_package(OpenMP QUIET COMPONENTS CXX)
  if(OpenMP_CXX_FOUND AND EXISTS "${LibTorch_ROOT_DIR}/lib/libgomp.so.1")
    target_compile_options(fedlb::torch INTERFACE
      $<$<COMPILE_LANGUAGE:CXX>:${OpenMP_CXX_FLAGS}>)
    target_link_libraries(fedlb::torch INTERFACE
      "${LibTorch_ROOT_DIR}/lib/libgomp.so.1")
  elseif(OpenMP_CXX_FOUND)
    target_link_libraries(fedlb::torch INTERFACE OpenMP::OpenMP_CXX)
  endif()
  # Symbols that LibTorch itself takes from CUDA are the loader's business.
  target_link_options(fedlb::torch INTERFACE LINKER:--allow-shlib-undefined)
  set_target_properties(fedlb::torch PROPERTIES
    FEDLB_LIBRARY_DIR "${LibTorch_ROOT_DIR}/lib")

  if(LibTorch_CUDA_MAJOR)
    foreach(_name IN ITEMS torch_cuda c10_cuda)
      add_library(fedlb::lib${_name} SHARED IMPORTED GLOBAL)
      set_target_properties(fedlb::lib${_name} PROPERTIES
        IMPORTED_LOCATION "${LibTorch_ROOT_DIR}/lib/lib${_name}.so")
    endforeach()
    add_library(fedlb::torch_cuda INTERFACE IMPORTED GLOBAL)
    target_link_libraries(fedlb::torch_cuda INTERFACE
      fedlb::torch fedlb::libtorch_cuda fedlb::libc10_cuda)
    # Nothing refers to libtorch_cuda by name: a linker that drops unreferenced
    # libraries would leave the CUDA backend unregistered.
    target_link_options(fedlb::torch_cuda INTERFACE LINKER:--no-as-needed)
  endif()
endif()

if(NOT LibTorch_FIND_QUIETLY AND NOT _fedlb_torch_reported)
  message(STATUS "LibTorch ${LibTorch_VERSION}: ${LibTorch_ROOT_DIR}")
  set(_fedlb_torch_reported TRUE)
endif()
