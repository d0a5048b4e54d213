# cmake --install: the program with its default model, manual page and completion; the library with its headers and the
# CMake package behind find_package(kvasir), which offers kvasir::kvasir.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/kvasir)

install(TARGETS kvasir_cli RUNTIME)
install(TARGETS kvasir EXPORT kvasir-targets)
install(DIRECTORY include/kvasir TYPE INCLUDE FILES_MATCHING PATTERN *.h)
install(EXPORT kvasir-targets NAMESPACE kvasir:: DESTINATION ${package_dir})
configure_package_config_file(cmake/kvasir-config.cmake.in kvasir-config.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(kvasir-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/kvasir-config.cmake ${PROJECT_BINARY_DIR}/kvasir-config-version.cmake
  cmake/FindUtf8proc.cmake cmake/FindOnig.cmake cmake/KvasirDocumentLibs.cmake DESTINATION ${package_dir})

# cli/model_location.cpp looks for the default model at ../share/kvasir/models from the program.
install(DIRECTORY models DESTINATION ${CMAKE_INSTALL_DATADIR}/kvasir)
install(FILES docs/kvasir.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES docs/completions/kvasir.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME kvasir)
install(FILES LICENSE README.md CHANGELOG.md TYPE DOC)
