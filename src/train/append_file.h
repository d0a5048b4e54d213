// A file that grows by whole records, each with the system at once: what a killed run leaves can be read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace kvasir::train {

class AppendFile {
 public:
  enum class Open {
    kNew,       // fails if the file is there
    kEmpty,     // forgets what is in it
    kContinue,  // goes on at its end
  };
  // Throws kIo.
  AppendFile(std::filesystem::path path, Open how);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  // All of it or, if that fails, nothing. Throws kIo.
  void append(std::string_view record);
  // Forgets what is behind the first `size` bytes. Throws kIo.
  void cut(std::uint64_t size);

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
  std::uint64_t size_ = 0;
  int fd_ = -1;
};

}  // namespace kvasir::train
