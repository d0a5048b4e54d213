// Standard output with every failure noticed: a closed pipe, a full disk.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kvasir::cli {

// One line on standard error, after the program's name.
void complain(const std::string& message);

// Thrown when standard output cannot be written.
struct OutputFailed {
  int error;  // errno; EPIPE: whoever read it has gone
};

class Output {
 public:
  explicit Output(int fd) : fd_(fd) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Collects bytes; hands them on when 64 KiB are together. Throws OutputFailed, Interrupted.
  void write(std::string_view bytes);
  // For writers that append in place and then call flush_if_full().
  std::string& buffer() noexcept { return buffer_; }
  void flush_if_full();
  void flush();
  bool empty() const noexcept { return buffer_.empty(); }

 private:
  static constexpr std::size_t kFull = std::size_t{64} << 10;  // what a pipe holds
  int fd_;
  std::string buffer_;
};

}  // namespace kvasir::cli
