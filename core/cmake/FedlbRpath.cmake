# fedlb_set_rpath(<directory of the libraries, from $ORIGIN> <target>...)
#
# Build and install trees have one layout, so targets are linked with their
# final RPATH at once. CMake's two-step way pads the first one with empty
# entries, and an empty entry means the working directory.
function(fedlb_set_rpath origin)
  get_target_property(torch_dir fedlb::torch FEDLB_LIBRARY_DIR)
  set_target_properties(${ARGN} PROPERTIES
    BUILD_WITH_INSTALL_RPATH ON
    INSTALL_RPATH "${origin};${torch_dir}"
    INSTALL_RPATH_USE_LINK_PATH ON)
endfunction()
