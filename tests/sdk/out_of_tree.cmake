# Takes a new plugin with one component of the kind KIND from `fedlb plugins
# new` to a training run, with the installation in PREFIX, in FOLDER.

# run(<command>...) stops the test when the command fails.
function(run)
  list(JOIN ARGV " " line)
  message(STATUS "${line}")
  execute_process(COMMAND ${ARGV} WORKING_DIRECTORY ${FOLDER}
    COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(name acme_${KIND})
set(fedlb ${PREFIX}/bin/fedlb)
set(plugin ${FOLDER}/build/lib/fedlb/plugins/fedlb_${name}.so)
file(REMOVE_RECURSE ${FOLDER})
file(MAKE_DIRECTORY ${FOLDER})

run(${fedlb} plugins new ${KIND} ${name} ${FOLDER}/source)
# No build type is named: a plugin takes over what the host was built with. The
# flags are there for the sanitizers, which both sides must agree on.
run(${CMAKE_COMMAND} -S source -B build -G ${GENERATOR}
  -DCMAKE_PREFIX_PATH=${PREFIX} -DCMAKE_CXX_COMPILER=${COMPILER}
  -DCMAKE_CXX_FLAGS=${FLAGS} -DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER})
run(${CMAKE_COMMAND} --build build)
run(${CMAKE_CTEST_COMMAND} --test-dir build --output-on-failure
  --no-tests=error)
run(${fedlb} plugins check ${plugin})
run(${fedlb} plugins describe ${name} --plugin ${plugin})

set(settings
  rounds=2 federation.clients=4
  dataset.name=synthetic "dataset.shape=[1,8,8]" dataset.train_size=400
  dataset.test_size=100 partitioner.name=iid model.name=mlp
  batch_policy.name=constant batch_policy.batch_size=20)
# The keys of a section belong to the component that it names.
list(FILTER settings EXCLUDE REGEX "^${KIND}[.]")
list(APPEND settings ${KIND}.name=${name})
list(TRANSFORM settings PREPEND --set=)
run(${fedlb} train --plugin ${plugin} --output ${FOLDER}/run ${settings})
if(NOT EXISTS ${FOLDER}/run/metrics.jsonl)
  message(FATAL_ERROR "the run has left no metrics")
endif()
file(READ ${FOLDER}/run/config.toml config)
if(NOT config MATCHES "name = \"${name}\"")
  message(FATAL_ERROR "the run did not use ${name}:\n${config}")
endif()
