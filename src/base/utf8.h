// UTF-8: validation, decoding, and conversion of byte offsets to code points and UTF-16 units.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::base {

// Offset of the first byte that is not part of well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms,
// at most U+10FFFF), or text.size() if there is none. Reads ASCII 8 bytes at a time.
std::size_t find_invalid_utf8(std::string_view text) noexcept;

// The text with each maximal part of it that cannot belong to well-formed UTF-8 replaced by one U+FFFD (The
// Unicode Standard, section 3.9; what Python, Rust and the web do).
std::string replace_invalid_utf8(std::string_view text);

struct CodePoint {
  char32_t value;
  std::uint8_t length;  // bytes
};
// Decodes the code point at text[at]. Precondition: well-formed UTF-8 and `at` on a boundary.
inline CodePoint decode_utf8(std::string_view text, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[at + i]); };
  const std::uint8_t b0 = byte(0);
  if (b0 < 0x80) return {b0, 1};
  if (b0 < 0xE0) return {static_cast<char32_t>((b0 & 0x1F) << 6 | (byte(1) & 0x3F)), 2};
  if (b0 < 0xF0)
    return {static_cast<char32_t>((b0 & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F)), 3};
  return {static_cast<char32_t>((b0 & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 |
                                (byte(3) & 0x3F)),
          4};
}

// Appends c to out. Precondition: c <= 0x10FFFF, not a surrogate.
void append_utf8(std::string& out, char32_t c);

// The text with '?' in place of control characters, such as line feeds: one line that cannot drive a
// terminal.
std::string one_line(std::string text);

// Converts byte offsets of one text to code points and UTF-16 units and back. Keeps a checkpoint every 1024
// bytes (12 bytes each, ~1 % of the text), so a lookup scans less than that.
class OffsetMap {
 public:
  OffsetMap() = default;
  explicit OffsetMap(std::string_view text);  // text must outlive the map and be well-formed

  // byte <= text.size(), on a boundary.
  std::size_t code_points(std::size_t byte) const noexcept;
  std::size_t utf16_units(std::size_t byte) const noexcept;
  // code_point <= number of code points of the text.
  std::size_t byte_of_code_point(std::size_t code_point) const noexcept;

 private:
  struct Checkpoint {
    std::uint32_t code_points;
    std::uint32_t utf16_units;
  };
  std::string_view text_;
  bool ascii_ = true;
  std::vector<Checkpoint> checkpoints_;
};

}  // namespace kvasir::base
