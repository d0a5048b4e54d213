// Lines of a file or of standard input, one by one, however many there are.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kvasir::cli {

class LineReader {
 public:
  // "-": standard input. Throws kvasir::Error.
  explicit LineReader(const std::string& path);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // The next line that is not blank, without its end; false at the end of the input. Throws kvasir::Error (a
  // line over 64 MiB, the system), Interrupted.
  bool next(std::string& line);
  // Whether next() would not have to wait for whoever writes the input.
  bool ready() const noexcept;
  // Where the last line stood: "standard input:12".
  std::string where() const;

 private:
  bool fill();

  std::string name_;
  int fd_;
  std::string buffer_;
  std::size_t begin_ = 0;  // of what was not handed out
  std::size_t line_ = 0;
  bool at_end_ = false;
};

}  // namespace kvasir::cli
