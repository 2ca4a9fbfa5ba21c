include(${CMAKE_CURRENT_LIST_DIR}/FedlbRpath.cmake)

# fedlb_add_plugin(<name> ENTRY <file> SOURCES <files>... [LINK <targets>...])
#
# Builds the loadable module lib/fedlb/plugins/fedlb_<name>.so and the object
# library fedlb_<name>_objects, which holds everything but the entry file so
# that unit tests can link the components directly. Sources may be CUDA (.cu)
# where the project has enabled that language.
function(fedlb_add_plugin name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "ENTRY" "SOURCES;LINK")
  if(NOT arg_ENTRY OR NOT arg_SOURCES OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "fedlb_add_plugin(${name}): need ENTRY and SOURCES")
  endif()

  set(objects fedlb_${name}_objects)
  add_library(${objects} OBJECT ${arg_SOURCES})
  target_link_libraries(${objects} PUBLIC fedlb::core ${arg_LINK})
  target_include_directories(${objects} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})

  add_library(fedlb_${name} MODULE ${arg_ENTRY})
  target_link_libraries(fedlb_${name} PRIVATE ${objects})
  target_link_options(fedlb_${name} PRIVATE LINKER:--no-undefined)

  # CMake 3.25 has no cuda_std_20 for nvcc.
  target_compile_options(${objects} PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>)
  if(TARGET fedlb_build_flags)
    target_link_libraries(${objects} PRIVATE fedlb_build_flags)
    target_link_libraries(fedlb_${name} PRIVATE fedlb_build_flags)
  endif()

  # The loader refuses a plugin whose NDEBUG differs from the host's. A project
  # that names no build type takes the host's.
  get_property(multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  if(FEDLB_HOST_NDEBUG AND NOT CMAKE_BUILD_TYPE AND NOT multi_config)
    target_compile_definitions(${objects} PRIVATE NDEBUG)
    target_compile_definitions(fedlb_${name} PRIVATE NDEBUG)
    target_compile_options(${objects} PRIVATE -O2)
  endif()

  set_target_properties(${objects} fedlb_${name} PROPERTIES
    CXX_VISIBILITY_PRESET hidden
    CUDA_VISIBILITY_PRESET hidden
    CUDA_RUNTIME_LIBRARY Shared
    VISIBILITY_INLINES_HIDDEN ON
    POSITION_INDEPENDENT_CODE ON
    CXX_EXTENSIONS OFF)
  set_target_properties(fedlb_${name} PROPERTIES
    PREFIX ""
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/fedlb/plugins)
  fedlb_set_rpath("$ORIGIN/../.." fedlb_${name})
  # The loader refuses a file that others may write to, whatever the umask.
  add_custom_command(TARGET fedlb_${name} POST_BUILD
    COMMAND chmod go-w $<TARGET_FILE:fedlb_${name}>)
  install(TARGETS fedlb_${name} LIBRARY DESTINATION lib/fedlb/plugins)

  if(TARGET fedlb_plugins)
    add_dependencies(fedlb_plugins fedlb_${name})
  endif()
endfunction()
