#include "base/utf8.h"

#include <cstring>

namespace kvasir::base {

std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return text;
}

namespace {

constexpr std::size_t kStep = 1024;  // bytes between checkpoints

bool continuation(char c) noexcept {
  return (static_cast<std::uint8_t>(c) & 0xC0) == 0x80;
}

// Length of the well-formed sequence at text[at], or 0. Unicode 15, table 3-7.
std::size_t sequence_length(std::string_view text, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<std::uint8_t>(text[at + i]) : 0;  // 0 is never a continuation
  };
  const unsigned b0 = byte(0), b1 = byte(1);
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  if (b0 < 0x80) return 1;
  if (b0 >= 0xC2 && b0 <= 0xDF) return tail(1) ? 2 : 0;
  if (b0 >= 0xE0 && b0 <= 0xEF) {
    const unsigned low = b0 == 0xE0 ? 0xA0 : 0x80, high = b0 == 0xED ? 0x9F : 0xBF;
    return b1 >= low && b1 <= high && tail(2) ? 3 : 0;
  }
  if (b0 >= 0xF0 && b0 <= 0xF4) {
    const unsigned low = b0 == 0xF0 ? 0x90 : 0x80, high = b0 == 0xF4 ? 0x8F : 0xBF;
    return b1 >= low && b1 <= high && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

struct Counts {
  std::size_t code_points = 0, utf16_units = 0;
};

Counts count(std::string_view text) noexcept {
  Counts counts;
  for (const char c : text) {
    if (continuation(c)) continue;
    ++counts.code_points;
    counts.utf16_units += static_cast<std::uint8_t>(c) >= 0xF0 ? 2 : 1;
  }
  return counts;
}

}  // namespace

std::size_t find_invalid_utf8(std::string_view text) noexcept {
  std::size_t at = 0;
  while (at < text.size()) {
    std::uint64_t word;
    while (at + sizeof word <= text.size()) {
      std::memcpy(&word, text.data() + at, sizeof word);
      if ((word & 0x8080808080808080U) != 0) break;
      at += sizeof word;
    }
    if (at == text.size()) break;
    const std::size_t length = sequence_length(text, at);
    if (length == 0) return at;
    at += length;
  }
  return text.size();
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t good = find_invalid_utf8(text.substr(at));
    out.append(text, at, good);
    at += good;
    if (at == text.size()) break;
    // The maximal part: a lead byte with those that may follow it; any byte by itself otherwise.
    const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
    const std::uint8_t lead = byte(at);
    const std::size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                               : lead >= 0xE0 && lead <= 0xEF ? 3
                               : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                              : 1;
    std::size_t end = at + 1;
    for (; end < at + length && end < text.size(); ++end) {
      std::uint8_t low = 0x80, high = 0xBF;
      if (end == at + 1) {
        if (lead == 0xE0) low = 0xA0;
        if (lead == 0xED) high = 0x9F;
        if (lead == 0xF0) low = 0x90;
        if (lead == 0xF4) high = 0x8F;
      }
      if (byte(end) < low || byte(end) > high) break;
    }
    out += "\xEF\xBF\xBD";
    at = end;
  }
  return out;
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

OffsetMap::OffsetMap(std::string_view text) : text_(text) {
  Counts total;
  for (std::size_t at = 0; at < text.size(); at += kStep) {
    checkpoints_.push_back(
        {static_cast<std::uint32_t>(total.code_points), static_cast<std::uint32_t>(total.utf16_units)});
    const Counts part = count(text.substr(at, kStep));
    total.code_points += part.code_points;
    total.utf16_units += part.utf16_units;
  }
  ascii_ = total.code_points == text.size();
  if (ascii_) checkpoints_ = {};
}

std::size_t OffsetMap::code_points(std::size_t byte) const noexcept {
  if (ascii_ || byte == 0) return byte;
  const std::size_t block = (byte - 1) / kStep;
  return checkpoints_[block].code_points +
         count(text_.substr(block * kStep, byte - block * kStep)).code_points;
}

std::size_t OffsetMap::utf16_units(std::size_t byte) const noexcept {
  if (ascii_ || byte == 0) return byte;
  const std::size_t block = (byte - 1) / kStep;
  return checkpoints_[block].utf16_units +
         count(text_.substr(block * kStep, byte - block * kStep)).utf16_units;
}

std::size_t OffsetMap::byte_of_code_point(std::size_t code_point) const noexcept {
  if (ascii_) return code_point;
  std::size_t low = 0, high = checkpoints_.size();  // the last checkpoint with at most code_point before it
  while (high - low > 1) {
    const std::size_t middle = (low + high) / 2;
    (checkpoints_[middle].code_points <= code_point ? low : high) = middle;
  }
  std::size_t byte = low * kStep, seen = checkpoints_.empty() ? 0 : checkpoints_[low].code_points;
  while (byte < text_.size() && continuation(text_[byte])) ++byte;  // a block may begin inside a code point
  while (seen < code_point && byte < text_.size()) {
    ++byte;
    while (byte < text_.size() && continuation(text_[byte])) ++byte;
    ++seen;
  }
  return byte;
}

}  // namespace kvasir::base
