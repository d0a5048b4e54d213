#include "terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cstdlib>
#include <cwchar>

#include "base/utf8.h"

namespace kvasir::cli {

bool use_color(ColorMode mode, int fd) {
  if (mode != ColorMode::kAuto) return mode == ColorMode::kAlways;
  const char* no_color = std::getenv("NO_COLOR");  // https://no-color.org: set and not empty
  if (no_color != nullptr && *no_color != '\0') return false;
  const char* term = std::getenv("TERM");
  if (term == nullptr || *term == '\0' || std::string_view(term) == "dumb") return false;
  return ::isatty(fd) == 1;
}

Style make_style(bool color) {
  if (!color) return {};
  return {.bold = "\033[1m",
          .dim = "\033[2m",
          .answer = "\033[1;32m",
          .warning = "\033[33m",
          .reset = "\033[0m",
          .color = true};
}

std::size_t wrap_width(int fd) {
  if (::isatty(fd) != 1) return 0;
  struct winsize size {};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return 80;
  return std::min<std::size_t>(size.ws_col, 100);  // longer lines are hard to read
}

namespace {

bool is_white(char32_t c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || c == 0x85 || c == 0xA0 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x3000;
}

bool is_dangerous(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

}  // namespace

namespace {

void append_printable(std::string& out, std::string_view well_formed) {
  for (std::size_t at = 0; at < well_formed.size();) {
    const base::CodePoint c = base::decode_utf8(well_formed, at);
    if (is_white(c.value)) {
      if (out.empty() || out.back() != ' ') out += ' ';
    } else if (is_dangerous(c.value)) {
      out += "\uFFFD";
    } else {
      out += well_formed.substr(at, c.length);
    }
    at += c.length;
  }
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (true) {
    const std::size_t valid = base::find_invalid_utf8(text);
    append_printable(out, text.substr(0, valid));
    if (valid == text.size()) return out;
    out += "\uFFFD";
    text.remove_prefix(valid + 1);
  }
}

void use_utf8_locale() {
  std::setlocale(LC_CTYPE, "C.UTF-8");
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t at = 0; at < text.size();) {
    const base::CodePoint c = base::decode_utf8(text, at);
    const int columns = ::wcwidth(static_cast<wchar_t>(c.value));
    width += columns < 0 ? 1 : static_cast<std::size_t>(columns);
    at += c.length;
  }
  return width;
}

}  // namespace kvasir::cli
