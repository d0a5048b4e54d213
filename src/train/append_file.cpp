#include "train/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::train {

namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* what, int error) {
  throw Error(ErrorCode::kIo, path.string() + ": " + what + ": " + std::strerror(error));
}

int flags_of(AppendFile::Open how) {
  switch (how) {
    case AppendFile::Open::kNew:
      return O_CREAT | O_EXCL;
    case AppendFile::Open::kEmpty:
      return O_CREAT | O_TRUNC;
    case AppendFile::Open::kContinue:
      break;
  }
  return O_CREAT;
}

}  // namespace

AppendFile::AppendFile(std::filesystem::path path, Open how) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | flags_of(how), 0666);
  struct stat status = {};
  if (fd_ < 0 || ::fstat(fd_, &status) != 0) {
    const int error = errno;
    if (fd_ >= 0) ::close(fd_);
    fail(path_, "cannot be written", error);
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

AppendFile::~AppendFile() {
  ::close(fd_);
}

void AppendFile::append(std::string_view record) {
  for (std::string_view rest = record; !rest.empty();) {
    const ssize_t written = ::write(fd_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      // Otherwise the next record, if the caller goes on, would follow half of this one.
      const bool is_whole = rest.size() == record.size() || ::ftruncate(fd_, static_cast<off_t>(size_)) == 0;
      fail(path_, is_whole ? "write failed" : "write failed, the last record is cut off", error);
    }
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  size_ += record.size();
}

void AppendFile::cut(std::uint64_t size) {
  if (size >= size_) return;
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) fail(path_, "cannot be cut", errno);
  size_ = size;
}

}  // namespace kvasir::train
