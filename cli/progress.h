// How far a long operation is, on standard error.
#pragma once

#include <cstddef>
#include <string>

namespace kvasir::cli {

// A line at the bottom of the terminal (standard error) that tells how far a long operation is. Prints
// nothing if standard error is no terminal, nothing before `delay`, and erases itself.
class ProgressLine {
 public:
  explicit ProgressLine(bool enabled);
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // Is it time for another update()? At most ten a second.
  bool due();
  void update(const std::string& text);
  void clear();
  double seconds() const;  // since the start

 private:
  bool enabled_;
  bool shown_ = false;
  double start_, next_;
};

// "[######........]  43 %"
std::string progress_bar(std::size_t done, std::size_t total);
// "12 s", "3 min 05 s", "1 h 20 min"
std::string duration_text(double seconds);
double monotonic_seconds();

}  // namespace kvasir::cli
