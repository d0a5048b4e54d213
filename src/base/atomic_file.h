// A file that appears whole or not at all: written under a temporary name beside the target, fsync'ed,
// renamed.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace kvasir::base {

class AtomicFile {
 public:
  // Throws kIo (missing folder, no permission, path is a directory).
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();  // without commit(): removes the temporary file
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);  // throws kIo: "…: write failed: No space left on device"
  void commit();                       // fsync, rename, fsync of the folder; throws kIo

 private:
  std::filesystem::path path_;
  std::string temporary_;
  int fd_ = -1;
};

}  // namespace kvasir::base
