// A file that appears whole or not at all: written under a temporary name beside the target, fsync'ed,
// renamed. What a symbolic link leads to is replaced, not the link. A device or a named pipe is written to: a
// file in its place would take it away from everyone.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace kvasir::base {

class AtomicFile {
 public:
  // Throws kIo (missing folder, no permission, path is a directory or empty).
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();  // without commit(): removes the temporary file
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);  // throws kIo: "…: write failed: No space left on device"
  // Replaces the first bytes of what was written, for headers that are known last. Precondition: no device.
  void overwrite_beginning(std::string_view bytes);
  void commit();  // fsync, rename, fsync of the folder; throws kIo

 private:
  std::filesystem::path path_;    // as given
  std::filesystem::path target_;  // where links lead
  std::string temporary_;         // empty: a device
  int fd_ = -1;
};

// Whether something is there that AtomicFile writes to in place: a device, a named pipe.
bool is_special_file(const std::filesystem::path& path) noexcept;

}  // namespace kvasir::base
