// A file that appears whole or not at all: written under a temporary name beside the target, fsync'ed,
// renamed. A symbolic link is followed: its target is replaced, not the link. A device or a named pipe is
// written to directly, because replacing it would remove it for every other process.
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
  // Overwrites the first bytes of what was written, for headers that are known only at the end. Precondition:
  // no device.
  void overwrite_beginning(std::string_view bytes);
  void commit();  // fsync, rename, fsync of the folder; throws kIo

 private:
  std::filesystem::path path_;    // as given
  std::filesystem::path target_;  // after following links
  std::string temporary_;         // empty: a device
  int fd_ = -1;
};

// Whether the path is something that AtomicFile writes to directly: a device or a named pipe.
bool is_special_file(const std::filesystem::path& path) noexcept;

}  // namespace kvasir::base
