# fedlb_embed_text(<output> HEADER <header> <constant> <file>...)
#
# Writes, while building, a source <output> that defines every <constant>, an
# absl::string_view in namespace fedlb that <header> declares, as the text of the
# <file> behind it.
#
# The same file, run as a script, does the writing.
if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  set(source "// Written by FedlbEmbedText.cmake.\n\n#include \"${HEADER}\"\n\n")
  string(APPEND source "namespace fedlb {\n")
  while(PAIRS)
    list(POP_FRONT PAIRS constant file)
    file(READ ${file} text)
    # What would end the string, or the <script> element that the text is for.
    set(forbidden ")embed~\"")
    if(file MATCHES "\\.js$")
      list(APPEND forbidden "</script")
    endif()
    foreach(end IN LISTS forbidden)
      string(FIND "${text}" "${end}" found)
      if(NOT found EQUAL -1)
        message(FATAL_ERROR "${file} contains ${end} and cannot be embedded")
      endif()
    endforeach()
    # Browsers' tools would look for the map in a place that is not there.
    string(REGEX REPLACE "\n//# sourceMappingURL=[^\n]*" "" text "${text}")
    string(APPEND source
      "const absl::string_view ${constant} =\n    R\"embed~(${text})embed~\";\n")
  endwhile()
  string(APPEND source "}  // namespace fedlb\n")
  file(WRITE ${OUTPUT} "${source}")
  return()
endif()

function(fedlb_embed_text output)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "HEADER" "")
  set(files)
  set(pairs ${arg_UNPARSED_ARGUMENTS})
  while(pairs)
    list(POP_FRONT pairs constant file)
    list(APPEND files ${file})
  endwhile()
  set(script ${CMAKE_CURRENT_FUNCTION_LIST_FILE})
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -DHEADER=${arg_HEADER}
      "-DPAIRS=${arg_UNPARSED_ARGUMENTS}" -P ${script}
    DEPENDS ${files} ${script}
    COMMENT "Embedding text in ${output}"
    VERBATIM)
endfunction()
