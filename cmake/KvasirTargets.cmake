# The one place where compile flags, folder targets and test targets are defined.

add_library(kvasir_flags INTERFACE)
target_compile_features(kvasir_flags INTERFACE cxx_std_20)
# -ffp-contract=off: the scalar kernels are the reference that every ISA is compared with, so the compiler may not
# fuse a*b+c behind our back; vector kernels ask for FMA by name.
target_compile_options(kvasir_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -ffp-contract=off)
# Warnings are errors under the compiler that every change is built with; clang (fuzzers) warns of other things by version.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  target_compile_options(kvasir_flags INTERFACE -Werror)
else()
  target_compile_options(kvasir_flags INTERFACE -Wno-string-conversion -Wno-unknown-warning-option)
endif()
if(KVASIR_SANITIZE)
  target_compile_options(kvasir_flags INTERFACE -fsanitize=${KVASIR_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(kvasir_flags INTERFACE -fsanitize=${KVASIR_SANITIZE})
endif()

find_program(KVASIR_CCACHE ccache)
if(KVASIR_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${KVASIR_CCACHE})
endif()

# For what calls the library and computes little itself: the program and the tests, a quarter sooner compiled.
add_library(kvasir_calls_flags INTERFACE)
target_link_libraries(kvasir_calls_flags INTERFACE kvasir_flags)
target_compile_options(kvasir_calls_flags INTERFACE $<$<CONFIG:RelWithDebInfo>:-O1>)

# kvasir_folder(<name> USES <lower folders>... LIBS <imported targets>...)
#
# Makes the folder src/<name> a target that sees the headers of the folders that it USES and no others: each folder gets
# an include root of its own in the build tree, holding one link <name> -> src/<name>. #include "kernels/gemm.h" in a
# folder that does not use kernels therefore does not compile.
function(kvasir_folder name)
  cmake_parse_arguments(ARG "" "" "USES;LIBS" ${ARGN})
  set(root ${CMAKE_BINARY_DIR}/include-roots/${name})
  file(MAKE_DIRECTORY ${root})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/src/${name} ${root}/${name} SYMBOLIC)

  add_library(kvasir_${name}_headers INTERFACE)
  target_include_directories(kvasir_${name}_headers INTERFACE ${root} ${CMAKE_SOURCE_DIR}/include)
  target_link_libraries(kvasir_${name}_headers INTERFACE ${ARG_LIBS})
  set_property(GLOBAL APPEND PROPERTY KVASIR_LIBS ${ARG_LIBS})
  foreach(lower IN LISTS ARG_USES)
    target_link_libraries(kvasir_${name}_headers INTERFACE kvasir_${lower}_headers)
  endforeach()

  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp)
  if(NOT sources)
    return()
  endif()
  add_library(kvasir_${name} OBJECT ${sources})
  set_target_properties(kvasir_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(kvasir_${name} PRIVATE kvasir_flags PUBLIC kvasir_${name}_headers)
  set_property(GLOBAL APPEND PROPERTY KVASIR_FOLDERS ${name})
endfunction()

# kvasir_tests(<folder> [PER_ISA] [THREADS]): one GoogleTest program of tests/<folder>/*_test.cpp. PER_ISA runs it once
# for each instruction set, forced through KVASIR_ISA; the program skips a set that the machine lacks. THREADS: threads
# meet in it, so it is built by the target thread_tests too and carries the label threads (for the thread sanitizer).
add_custom_target(thread_tests)
function(kvasir_tests name)
  cmake_parse_arguments(ARG "PER_ISA;THREADS" "" "" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${name}/*_test.cpp)
  if(NOT sources)
    return()
  endif()
  add_executable(${name}_tests ${sources})
  target_compile_definitions(${name}_tests PRIVATE KVASIR_TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data"
    KVASIR_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_include_directories(${name}_tests PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(${name}_tests PRIVATE kvasir_calls_flags kvasir kvasir_test_main)
  set(labels)
  if(ARG_THREADS)
    set(labels threads)
    add_dependencies(thread_tests ${name}_tests)
  endif()
  if(ARG_PER_ISA)
    foreach(isa scalar avx2 avx512)
      add_test(NAME ${name}.${isa} COMMAND ${name}_tests)
      set_tests_properties(${name}.${isa} PROPERTIES ENVIRONMENT KVASIR_ISA=${isa} SKIP_RETURN_CODE 77
        LABELS "${isa};${labels}")
    endforeach()
  else()
    add_test(NAME ${name} COMMAND ${name}_tests)
    set_tests_properties(${name} PROPERTIES LABELS "${labels}")
  endif()
endfunction()
