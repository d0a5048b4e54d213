// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace kvasir::base {

class MappedFile {
 public:
  // Throws kNotFound, or kIo for a directory, a missing permission, … The message starts with the path.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  const std::filesystem::path& path() const noexcept { return path_; }

  // Tells the system that the pages of `part` (a part of bytes()) are not needed soon: weights that have been
  // repacked should not be in the process's memory twice.
  void release(std::span<const std::byte> part) const noexcept;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

struct ReadLimit {
  std::size_t max_bytes = std::size_t{1} << 30;
};
// The whole of a file as a string, "-" excluded. Throws as MappedFile, kResourceExhausted beyond the limit.
std::string read_file(const std::filesystem::path& path, ReadLimit limit = {});

}  // namespace kvasir::base
