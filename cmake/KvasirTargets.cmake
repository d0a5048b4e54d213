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

# ccache remembers what is compiled with a precompiled header only under these two settings: it then relies on the header's
# bytes, not on the macros that were defined for it, and takes no notice of __DATE__ and __TIME__, which nothing here uses.
find_program(KVASIR_CCACHE ccache)
if(KVASIR_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/launcher/ccache @ONLY CONTENT [[#!/bin/sh
CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:+$CCACHE_SLOPPINESS,}pch_defines,time_macros exec "@KVASIR_CCACHE@" "$@"
]])
  file(CHMOD ${CMAKE_BINARY_DIR}/launcher/ccache PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_BINARY_DIR}/launcher/ccache)
endif()

# For what calls the library and computes little itself: the program and the tests, a quarter sooner compiled.
add_library(kvasir_calls_flags INTERFACE)
target_link_libraries(kvasir_calls_flags INTERFACE kvasir_flags)
target_compile_options(kvasir_calls_flags INTERFACE $<$<CONFIG:RelWithDebInfo>:-O1>)

# kvasir_precompile(<target> FLAGS <flags target> HEADERS <headers>... LIBS <targets>...): a precompiled header, the standard
# library, Boost.JSON and HEADERS, for targets that are compiled with the same flags and definitions. They take it with
# kvasir_use_pch(<target> <precompiled>). Sources include what they use all the same: ./dev lint compiles them without.
function(kvasir_precompile name)
  cmake_parse_arguments(ARG "" "FLAGS" "HEADERS;LIBS" ${ARGN})
  add_library(${name} OBJECT ${CMAKE_SOURCE_DIR}/cmake/precompiled.cpp)
  target_link_libraries(${name} PRIVATE ${ARG_FLAGS} ${ARG_LIBS})
  target_precompile_headers(${name} PRIVATE <algorithm> <array> <atomic> <charconv> <chrono> <cmath> <cstdint> <cstring>
    <filesystem> <functional> <limits> <map> <memory> <mutex> <optional> <set> <span> <string> <string_view> <thread>
    <unordered_map> <utility> <vector> <boost/json.hpp> ${ARG_HEADERS})
  if(CMAKE_CXX_COMPILER_ID MATCHES Clang)  # else the time of building is in its bytes, which ccache compares
    target_compile_options(${name} PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
  endif()
endfunction()

function(kvasir_use_pch target precompiled)
  target_precompile_headers(${target} REUSE_FROM ${precompiled})
  # GCC 12 forgets that what it inlines from a precompiled header is the standard library's, and warns of std::string (GCC bugs
  # 105329, 105651). The folders without a precompiled header keep these warnings.
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND NOT CMAKE_DISABLE_PRECOMPILE_HEADERS)
    target_compile_options(${target} PRIVATE -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread)
  endif()
endfunction()

# kvasir_folder(<name> [NO_PCH] USES <lower folders>... LIBS <imported targets>...)
#
# Makes the folder src/<name> a target that sees the headers of the folders that it USES and no others: each folder gets
# an include root of its own in the build tree, holding one link <name> -> src/<name>. #include "kernels/gemm.h" in a
# folder that does not use kernels therefore does not compile. NO_PCH: it is compiled without the precompiled header, because
# its flags or definitions are others.
function(kvasir_folder name)
  cmake_parse_arguments(ARG "NO_PCH" "" "USES;LIBS" ${ARGN})
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
  if(NOT ARG_NO_PCH)
    kvasir_use_pch(kvasir_${name} kvasir_pch)
  endif()
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
  kvasir_use_pch(${name}_tests kvasir_tests_pch)
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
