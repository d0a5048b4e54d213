# Needs BUILD, SOURCE, COMPILER, GENERATOR.
set(work ${BUILD}/install-test)
set(prefix ${work}/prefix)
file(REMOVE_RECURSE ${work})
file(MAKE_DIRECTORY ${work}/elsewhere)

# run(<words that the output must hold> <command>...): the command must succeed.
function(run expected)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE errors
    WORKING_DIRECTORY ${work}/elsewhere)
  string(FIND "${output}" "${expected}" at)
  if(NOT status EQUAL 0 OR at EQUAL -1)
    list(JOIN ARGN " " line)
    message(FATAL_ERROR "${line}\nstatus ${status}, wanted the output to hold \"${expected}\"\n${output}\n${errors}")
  endif()
endfunction()

run("" ${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
foreach(file bin/kvasir include/kvasir/reader.h include/kvasir/convert.h
    include/kvasir/hub.h include/kvasir/log.h share/man/man1/kvasir.1 share/bash-completion/completions/kvasir
    share/kvasir/models/kvasir-base/model.safetensors)
  if(NOT EXISTS ${prefix}/${file})
    message(FATAL_ERROR "${file} was not installed")
  endif()
endforeach()

# Moved before use: an installed tree may not hold paths of the build.
file(RENAME ${prefix} ${work}/moved)
set(prefix ${work}/moved)
set(question "Where was the treaty signed?")
run("Lund" ${prefix}/bin/kvasir ask -q ${question} --context "The treaty was signed in Lund in 1676.")
# It runs the installed model, not the one of the checkout: without it, it asks for one by its installed place.
file(RENAME ${prefix}/share/kvasir/models/kvasir-base/model.safetensors ${work}/model.safetensors)
execute_process(COMMAND ${prefix}/bin/kvasir ask -q ${question} --context "In Lund." RESULT_VARIABLE status
  OUTPUT_QUIET ERROR_VARIABLE errors)
string(FIND "${errors}" ${prefix}/share/kvasir/models/kvasir-base at)
if(status EQUAL 0 OR at EQUAL -1)
  message(FATAL_ERROR "without the installed weights: status ${status}, ${errors}")
endif()
file(RENAME ${work}/model.safetensors ${prefix}/share/kvasir/models/kvasir-base/model.safetensors)

run("" ${CMAKE_COMMAND} -G ${GENERATOR} -S ${SOURCE}/consumer -B ${work}/consumer -D CMAKE_PREFIX_PATH=${prefix}
  -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_BUILD_TYPE=Release)
run("" ${CMAKE_COMMAND} --build ${work}/consumer)
run("Lund\n" ${work}/consumer/consumer ${prefix}/share/kvasir/models/kvasir-base)
run("Mazars, line 1\n" ${work}/consumer/consumer ${prefix}/share/kvasir/models/kvasir-base examples)
file(REMOVE_RECURSE ${work})
