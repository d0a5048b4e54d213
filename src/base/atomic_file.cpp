#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::base {

namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* what) {
  throw Error(ErrorCode::kIo, path.string() + ": " + what + ": " + std::strerror(errno));
}

}  // namespace

bool is_special_file(const std::filesystem::path& path) noexcept {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  return !error && std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) &&
         !std::filesystem::is_directory(status);
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code error;
  errno = path_.empty() ? ENOENT : std::filesystem::is_directory(path_, error) ? EISDIR : 0;
  if (errno != 0) fail(path_, "cannot be written");
  if (is_special_file(path_)) {
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd_ < 0) fail(path_, "cannot be written");
    return;
  }
  target_ = std::filesystem::canonical(path_, error);
  if (error) target_ = path_;  // not there yet
  temporary_ = target_.string() + ".XXXXXX";
  fd_ = ::mkostemp(temporary_.data(), O_CLOEXEC);
  if (fd_ < 0) fail(path_, "cannot be written");
  // mkostemp makes files that only the owner may read; give what the umask allows, as open() would have done.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(fd_, 0666 & ~mask);
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path_, "write failed");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void AtomicFile::overwrite_beginning(std::string_view bytes) {
  if (::lseek(fd_, 0, SEEK_SET) != 0) fail(path_, "write failed");
  write(bytes);
  if (::lseek(fd_, 0, SEEK_END) < 0) fail(path_, "write failed");
}

void AtomicFile::commit() {
  if (temporary_.empty()) {
    if (::close(std::exchange(fd_, -1)) != 0) fail(path_, "write failed");
    return;
  }
  if (::fsync(fd_) != 0) fail(path_, "write failed");
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail(path_, "cannot be written");
  ::close(std::exchange(fd_, -1));
  // The rename itself is durable once the folder is synced. A file system that cannot do this has done what
  // it can.
  const std::filesystem::path folder = target_.has_parent_path() ? target_.parent_path() : ".";
  if (const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); fd >= 0) {
    ::fsync(fd);
    ::close(fd);
  }
}

}  // namespace kvasir::base
