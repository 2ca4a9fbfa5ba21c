# Option FEDLB_WITH_CUDA, on by default where the GPU plugin can be built: nvcc
# works, LibTorch has its CUDA half, and both are of one CUDA major version.
include(CheckLanguage)

set(fedlb_cuda_default OFF)
if(NOT DEFINED FEDLB_WITH_CUDA AND TARGET fedlb::torch_cuda)
  find_program(FEDLB_NVCC nvcc
    HINTS ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
  mark_as_advanced(FEDLB_NVCC)
  if(FEDLB_NVCC)
    execute_process(COMMAND ${FEDLB_NVCC} --version
      OUTPUT_VARIABLE nvcc_version ERROR_QUIET)
    string(REGEX MATCH "release ([0-9]+)" matched "${nvcc_version}")
    if(CMAKE_MATCH_1 STREQUAL LibTorch_CUDA_MAJOR)
      # An nvcc that refuses the host's compiler must not stop the build.
      if(NOT DEFINED ENV{CUDACXX})
        set(ENV{CUDACXX} ${FEDLB_NVCC})
      endif()
      check_language(CUDA)
      if(CMAKE_CUDA_COMPILER)
        set(fedlb_cuda_default ON)
      endif()
    endif()
  endif()
endif()
option(FEDLB_WITH_CUDA "Build the plugins that need CUDA" ${fedlb_cuda_default})

if(FEDLB_WITH_CUDA)
  if(NOT TARGET fedlb::torch_cuda)
    message(FATAL_ERROR
      "FEDLB_WITH_CUDA: the LibTorch in ${LibTorch_ROOT_DIR} is a CPU build")
  endif()
  # Without this nvcc refuses the wheel's own list, which names retired GPUs.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80 86 89 90 100 120
      CACHE STRING "GPU architectures to compile for")
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
endif()
