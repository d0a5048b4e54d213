#include "progress.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "terminal.h"

namespace kvasir::cli {

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

namespace {
constexpr double kProgressDelay = 0.4;     // what ends sooner needs no progress line
constexpr double kProgressInterval = 0.1;  // ten a second look alive
}  // namespace

ProgressLine::ProgressLine(bool enabled)
    : enabled_(enabled && ::isatty(STDERR_FILENO) == 1),
      start_(monotonic_seconds()),
      next_(start_ + kProgressDelay) {
  const char* term = std::getenv("TERM");
  if (term == nullptr || std::string_view(term) == "dumb") enabled_ = false;
}

double ProgressLine::seconds() const {
  return monotonic_seconds() - start_;
}

bool ProgressLine::due() {
  return enabled_ && monotonic_seconds() >= next_;
}

void ProgressLine::update(const std::string& text) {
  if (!enabled_) return;
  next_ = monotonic_seconds() + kProgressInterval;
  const std::size_t width = std::max<std::size_t>(wrap_width(STDERR_FILENO), 20) - 1;
  std::string line = "\r\033[K" + text.substr(0, width);  // the text is ASCII: ours alone
  shown_ = true;
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, line.data(), line.size());
}

void ProgressLine::clear() {
  if (!shown_) return;
  shown_ = false;
  constexpr std::string_view kErase = "\r\033[K";
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, kErase.data(), kErase.size());
}

std::string progress_bar(std::size_t done, std::size_t total) {
  constexpr std::size_t kCells = 24;
  const double share = total == 0 ? 0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const auto filled = static_cast<std::size_t>(share * kCells);
  std::string bar = "[" + std::string(filled, '#') + std::string(kCells - filled, '.') + "]";
  char percent[16];
  std::snprintf(percent, sizeof percent, " %3d %%", static_cast<int>(share * 100));
  return bar + percent;
}

std::string duration_text(double seconds) {
  const auto whole = std::lround(seconds);
  char text[48];
  if (whole < 60) {
    std::snprintf(text, sizeof text, "%ld s", whole);
  } else if (whole < 3600) {
    std::snprintf(text, sizeof text, "%ld min %02ld s", whole / 60, whole % 60);
  } else {
    std::snprintf(text, sizeof text, "%ld h %02ld min", whole / 3600, whole % 3600 / 60);
  }
  return text;
}

}  // namespace kvasir::cli
