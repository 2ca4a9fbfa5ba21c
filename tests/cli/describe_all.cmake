# Compares what `fedlb plugins describe --all` prints with GOLDEN, so that a
# changed default, bound or text shows in review. After a change on purpose:
#   build/dev/bin/fedlb plugins describe --all > tests/cli/golden/describe_all.txt

set(ENV{FEDLB_PLUGIN_PATH})
set(printed ${FOLDER}/describe_all.txt)
execute_process(COMMAND ${FEDLB} plugins describe --all
  OUTPUT_FILE ${printed} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND diff -u ${GOLDEN} ${printed} RESULT_VARIABLE differs)
if(differs)
  message(FATAL_ERROR "the description differs; if it should, run\n"
    "  ${FEDLB} plugins describe --all > ${GOLDEN}")
endif()
