#include "line_reader.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "interrupt.h"
#include "kvasir/error.h"

namespace kvasir::cli {

namespace {

constexpr std::size_t kMostBytes = std::size_t{64} << 20;  // of one line
constexpr std::size_t kPiece = std::size_t{64} << 10;

[[noreturn]] void fail(const std::string& name, const char* what) {
  throw Error(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
              name + ": " + what + ": " + std::strerror(errno));
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

LineReader::LineReader(const std::string& path)
    : name_(path == "-" ? "standard input" : path),
      fd_(path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (fd_ < 0) {
    check_interrupt();  // a named pipe without a writer waits in open()
    fail(name_, "cannot be opened");
  }
}

LineReader::~LineReader() {
  if (fd_ != STDIN_FILENO) ::close(fd_);
}

std::string LineReader::where() const {
  return name_ + ":" + std::to_string(line_);
}

bool LineReader::ready() const noexcept {
  if (at_end_ || buffer_.find('\n', begin_) != std::string::npos) return true;
  pollfd descriptor{.fd = fd_, .events = POLLIN, .revents = 0};
  return ::poll(&descriptor, 1, 0) > 0;
}

// Reads more; false at the end.
bool LineReader::fill() {
  buffer_.erase(0, begin_);
  begin_ = 0;
  const std::size_t filled = buffer_.size();
  while (true) {
    if (!wait_readable(fd_)) check_interrupt();
    buffer_.resize(filled + kPiece);
    const ssize_t got = ::read(fd_, buffer_.data() + filled, kPiece);
    if (got < 0 && errno == EINTR) continue;
    buffer_.resize(filled + static_cast<std::size_t>(got < 0 ? 0 : got));
    if (got < 0) fail(name_, "cannot be read");
    return got > 0;
  }
}

bool LineReader::next(std::string& line) {
  std::size_t searched = begin_;  // no line ends before
  while (true) {
    const std::size_t end = buffer_.find('\n', searched);
    if (end == std::string::npos && !at_end_) {
      searched = buffer_.size() - begin_;  // after fill(), which moves the beginning to 0
      if (searched > kMostBytes) {
        throw Error(ErrorCode::kResourceExhausted,
                    name_ + ":" + std::to_string(line_ + 1) + ": the line is longer than 64 MiB");
      }
      at_end_ = !fill();
      continue;
    }
    if (end == std::string::npos && begin_ == buffer_.size()) return false;
    const std::size_t stop = end == std::string::npos ? buffer_.size() : end;
    line.assign(buffer_, begin_, stop - begin_);
    begin_ = searched = end == std::string::npos ? stop : stop + 1;
    ++line_;
    if (!is_blank(line)) return true;
  }
}

}  // namespace kvasir::cli
