# Onig::onig: regular expressions (Debian's package brings no CMake package of its own). It also exports the POSIX names
# regcomp() and regexec(): nothing in a program that links it should call those (GoogleTest's MatchesRegex does). With the
# address sanitizer, which takes regexec() from the C library, they do not fit together and hang.
find_path(Onig_INCLUDE_DIR oniguruma.h)
find_library(Onig_LIBRARY onig)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Onig REQUIRED_VARS Onig_LIBRARY Onig_INCLUDE_DIR)
if(Onig_FOUND AND NOT TARGET Onig::onig)
  add_library(Onig::onig UNKNOWN IMPORTED)
  set_target_properties(Onig::onig PROPERTIES IMPORTED_LOCATION ${Onig_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${Onig_INCLUDE_DIR})
endif()
mark_as_advanced(Onig_INCLUDE_DIR Onig_LIBRARY)
