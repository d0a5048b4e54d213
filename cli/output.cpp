#include "output.h"

#include <unistd.h>

#include <cerrno>

#include "interrupt.h"
#include "terminal.h"

namespace kvasir::cli {

void complain(const std::string& message) {
  const std::string line = "kvasir: " + printable(message) + '\n';
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, line.data(), line.size());
}

void Output::write(std::string_view bytes) {
  buffer_ += bytes;
  flush_if_full();
}

void Output::flush_if_full() {
  if (buffer_.size() >= kFull) flush();
}

void Output::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    // A write that a signal breaks off half-way reports what it wrote, and the next one would wait again.
    if (!wait_writable(fd_)) check_interrupt();
    const ssize_t written = ::write(fd_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      buffer_.clear();
      throw OutputFailed{error};
    }
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  buffer_.clear();
}

}  // namespace kvasir::cli
