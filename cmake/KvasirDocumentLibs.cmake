# PkgConfig::kvasir_documents: the libraries that read document formats. Debian describes them for pkg-config only.
find_package(PkgConfig REQUIRED)
if(NOT TARGET PkgConfig::kvasir_documents)
  pkg_check_modules(kvasir_documents REQUIRED IMPORTED_TARGET GLOBAL gumbo pugixml libzip libcmark uchardet gmime-3.0)
endif()
