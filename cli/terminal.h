// What a terminal can show: colour, width, and text that is safe to print on it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kvasir::cli {

enum class ColorMode { kAuto, kAlways, kNever };

// Escape sequences, or empty strings where colour is off.
struct Style {
  std::string_view bold, dim, answer, warning, reset;
  bool color = false;
};

// Colour for the descriptor: on a terminal, unless NO_COLOR is set and not empty, or TERM is "dumb" or
// missing.
bool use_color(ColorMode mode, int fd);
Style make_style(bool color);

// Columns to wrap text at: the terminal's, 80 if it does not say; 0 (do not wrap) if fd is no terminal.
std::size_t wrap_width(int fd);

// Text for people: line breaks and runs of white space become one space; control characters (which could
// drive the terminal), characters that reorder text and bytes that are no UTF-8 become U+FFFD.
std::string printable(std::string_view text);

// Columns that text takes on a terminal. Needs use_utf8_locale().
std::size_t display_width(std::string_view text);
void use_utf8_locale();

}  // namespace kvasir::cli
