// Random texts that exercise every branch of the normalisers: seeded, so that a failure comes back.
#pragma once

#include <array>
#include <random>
#include <string>

#include "base/utf8.h"

namespace kvasir::tests {

class RandomText {
 public:
  explicit RandomText(std::uint32_t seed) : random_(seed) {}

  std::string next() {
    std::string text;
    for (std::size_t pieces = 1 + below(20); pieces > 0; --pieces) append_piece(text);
    return text;
  }

 private:
  // Ranges of code points whose members behave differently: letters, accents, marks in and out of order,
  // controls, CJK, Hangul, punctuation, white space, private use, emoji.
  struct Range {
    char32_t first, last;
  };
  static constexpr auto kRanges = std::to_array<Range>({
      {0x00, 0x7F},       {0x20, 0x7E},       {'a', 'z'},         {0xA0, 0x24F},        {0x300, 0x36F},
      {0x370, 0x52F},     {0x590, 0x5FF},     {0x8D0, 0x8FF},     {0xF70, 0xF90},       {0x1100, 0x11FF},
      {0x1B30, 0x1B44},   {0x1E00, 0x1FFF},   {0x2000, 0x206F},   {0x2100, 0x214F},     {0x2C00, 0x2E4F},
      {0x3000, 0x3100},   {0x4E00, 0x4E40},   {0xAC00, 0xD7A3},   {0xE000, 0xE010},     {0xF900, 0xFAD9},
      {0xFE00, 0xFEFF},   {0xFFF0, 0xFFFF},   {0x10400, 0x1044F}, {0x1D150, 0x1D1A0},   {0x1F600, 0x1F64F},
      {0x2B800, 0x2B940}, {0x2F800, 0x2FA1D}, {0xE0000, 0xE01EF}, {0x10FFF0, 0x10FFFF},
  });
  static constexpr std::array<const char*, 18> kWords{
      "the ",   "of ",     "and ",  "unbelievable", "Washington", "[SEP]",  "[MASK] ", "[CLS", "##ing",
      "\u00E9", "e\u0301", "don't", "3.14",         "\u0130",     "\u4E2D", "\u00AD",  " ",    "\n\n",
  };

  std::size_t below(std::size_t bound) { return random_() % bound; }

  void append_piece(std::string& text) {
    if (below(2) == 0) {
      text += kWords[below(kWords.size())];
    } else if (below(100) == 0) {  // around the longest word
      text.append(98 + below(5), 'a');
    } else {
      const Range range = kRanges[below(kRanges.size())];
      for (std::size_t n = 1 + below(4); n > 0; --n) {
        base::append_utf8(text, range.first + static_cast<char32_t>(below(range.last - range.first + 1)));
      }
    }
  }

  std::mt19937 random_;
};

}  // namespace kvasir::tests
