#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::base {

namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* what, int error) {
  throw Error(error == ENOENT || error == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo,
              path.string() + ": " + what + ": " + std::strerror(error));
}

// An open file that is closed at the end of the scope.
struct Descriptor {
  int fd;
  ~Descriptor() { ::close(fd); }
};

std::size_t open_size(const std::filesystem::path& path, int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0) fail(path, "cannot be read", errno);
  if (S_ISDIR(status.st_mode)) fail(path, "cannot be read", EISDIR);
  return static_cast<std::size_t>(status.st_size);
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail(path, "cannot be opened", errno);
  size_ = open_size(path, file.fd);
  if (size_ == 0) return;  // mmap refuses length 0
  void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED) fail(path, "cannot be mapped", errno);
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::release(std::span<const std::byte> part) const noexcept {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(part.data() + part.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

std::string read_file(const std::filesystem::path& path, ReadLimit limit) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail(path, "cannot be opened", errno);
  const std::size_t size = open_size(path, file.fd);
  std::string text;
  const auto check = [&](std::size_t bytes) {
    if (bytes <= limit.max_bytes) return;
    throw Error(ErrorCode::kResourceExhausted, path.string() + ": larger than the limit of " +
                                                   std::to_string(limit.max_bytes >> 20) +
                                                   " MiB; split the file");
  };
  check(size);
  text.resize(size + 1);  // one more byte, so that the end is seen without moving the text
  std::size_t filled = 0;
  while (true) {  // the size is a hint only: pipes and /proc say 0
    if (filled == text.size()) text.resize(filled + 65536);
    const ssize_t got = ::read(file.fd, text.data() + filled, text.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path, "cannot be read", errno);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
    check(filled);
  }
  text.resize(filled);
  return text;
}

}  // namespace kvasir::base
