#include "qa/words.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "unicode/python_text.h"

namespace kvasir::qa {

namespace {

// The longest word, as in WordPiece ("max_input_chars_per_word"): beyond it we are in base64 or a broken
// file.
constexpr std::size_t kMaxSteps = 100;

struct CodeRange {
  char32_t first, last;
};

// Blocks of scripts that are written without spaces between words (Unicode blocks, sorted).
constexpr std::array<CodeRange, 20> kUnspacedBlocks{{
    {0x0E00, 0x0FFF},    // Thai, Lao, Tibetan
    {0x1000, 0x109F},    // Myanmar
    {0x1780, 0x17FF},    // Khmer
    {0x1950, 0x19FF},    // Tai Le, New Tai Lue, Khmer symbols
    {0x1A20, 0x1AAF},    // Tai Tham
    {0x1B00, 0x1B7F},    // Balinese
    {0x2E80, 0x2FDF},    // radicals
    {0x3005, 0x3007},    // iteration mark, closing mark, zero
    {0x3021, 0x3029},    // Hangzhou numerals
    {0x3031, 0x303C},    // Kana repeat marks, Han numerals
    {0x3040, 0x312F},    // Hiragana, Katakana, Bopomofo
    {0x31A0, 0x31FF},    // Bopomofo and Katakana extensions, strokes
    {0x3400, 0x4DBF},    // Han extension A
    {0x4E00, 0xA4CF},    // Han, Yi
    {0xA980, 0xA9FF},    // Javanese, Myanmar extension B
    {0xAA60, 0xAADF},    // Myanmar extension A, Tai Viet
    {0xF900, 0xFAFF},    // Han compatibility
    {0xFF66, 0xFF9F},    // half-width Katakana
    {0x1AFF0, 0x1B16F},  // Kana extensions
    {0x20000, 0x3FFFF},  // Han extensions B and later
}};

enum class Kind { kLetter, kDigit, kMark, kJoiner, kApostrophe, kPoint, kUnspaced, kSpace, kOther, kNone };

constexpr char32_t kZeroWidthJoiner = 0x200D;
// Marks that stack the next consonant below the last one.
constexpr char32_t kKhmerCoeng = 0x17D2, kMyanmarVirama = 0x1039;

Kind kind_of_ascii(char32_t c) noexcept {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_') return Kind::kLetter;
  if (c >= '0' && c <= '9') return Kind::kDigit;
  if (c == '\'') return Kind::kApostrophe;
  if (c == '.' || c == ',') return Kind::kPoint;
  return unicode::is_space(c) ? Kind::kSpace : Kind::kOther;
}

Kind kind_of(char32_t c) noexcept {
  if (c < 0x80) return kind_of_ascii(c);
  if (c == 0x2019 || c == 0xFF07) return Kind::kApostrophe;
  if (unicode::is_space(c)) return Kind::kSpace;
  // Invisible characters inside words: soft hyphen, zero-width (non-)joiner, word joiner; skin tones of
  // emoji.
  if (c == 0xAD || c == 0x200C || c == kZeroWidthJoiner || c == 0x2060 || (c >= 0x1F3FB && c <= 0x1F3FF))
    return Kind::kJoiner;
  const unicode::CharClass general = unicode::char_class(c);
  if (general == unicode::CharClass::kOther) return Kind::kOther;
  if (general == unicode::CharClass::kMark) return Kind::kMark;
  // Digits are digits in Thai too; Han numerals are words.
  if (general == unicode::CharClass::kNumber && (c < 0x2E80 || c > 0xA4CF)) return Kind::kDigit;
  if (c < kUnspacedBlocks.front().first) return Kind::kLetter;
  const bool unspaced = std::any_of(kUnspacedBlocks.begin(), kUnspacedBlocks.end(),
                                    [c](const CodeRange& r) { return c >= r.first && c <= r.last; });
  return unspaced ? Kind::kUnspaced : Kind::kLetter;
}

struct Char {
  char32_t value = 0;
  Kind kind = Kind::kNone;
  std::size_t begin = 0, end = 0;
};

Char char_after(std::string_view text, std::size_t at) noexcept {
  if (at >= text.size()) return {0, Kind::kNone, text.size(), text.size()};
  const base::CodePoint c = base::decode_utf8(text, at);
  return {c.value, kind_of(c.value), at, at + c.length};
}

Char char_before(std::string_view text, std::size_t at) noexcept {
  if (at == 0) return {};
  std::size_t begin = at - 1;
  while ((static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return char_after(text, begin);
}

bool letter(Kind kind) noexcept {
  return kind == Kind::kLetter;
}

// A character that a mark or joiner makes part of the character before it.
bool attaches(Kind kind) noexcept {
  return kind == Kind::kMark || kind == Kind::kJoiner;
}

// The kind of the base character that the text before `at` ends with, marks skipped.
Kind base_before(std::string_view text, std::size_t at) noexcept {
  Char c = char_before(text, at);
  for (std::size_t step = 0; attaches(c.kind) && step < kMaxSteps; ++step) c = char_before(text, c.begin);
  return c.kind;
}

bool part_of_word(Kind kind) noexcept {
  return kind == Kind::kLetter || kind == Kind::kDigit || kind == Kind::kUnspaced || attaches(kind);
}

// A letter alone, as in "U.S." or "J. Smith".
bool initial(std::string_view text, const Char& c) noexcept {
  return letter(c.kind) && !part_of_word(char_before(text, c.begin).kind) &&
         !part_of_word(char_after(text, c.end).kind);
}

// Whether a "." between the characters belongs to an abbreviation: "U.S", and at its end "U.S.".
bool abbreviates(std::string_view text, const Char& before, const Char& point, const Char& after) noexcept {
  if (point.value != '.' || !initial(text, before)) return false;
  if (initial(text, after)) return true;
  const Char earlier_point = char_before(text, before.begin);
  return earlier_point.value == '.' && initial(text, char_before(text, earlier_point.begin));
}

// Whether a cut between the characters a and b would be inside a word.
bool joined(std::string_view text, const Char& a, const Char& b) noexcept {
  if (a.kind == Kind::kNone || b.kind == Kind::kNone || a.kind == Kind::kSpace) return false;
  if (attaches(b.kind)) return true;
  if (a.value == kZeroWidthJoiner) return b.kind != Kind::kSpace;
  if (a.value == kKhmerCoeng || a.value == kMyanmarVirama) return b.kind == Kind::kUnspaced;
  const Kind left = attaches(a.kind) ? base_before(text, a.begin) : a.kind;
  const bool left_word = left == Kind::kLetter || left == Kind::kDigit;
  const bool right_word = b.kind == Kind::kLetter || b.kind == Kind::kDigit;
  if (left_word && right_word) return true;
  if (b.kind == Kind::kApostrophe) return letter(left) && letter(char_after(text, b.end).kind);
  if (b.kind == Kind::kPoint) {
    const Char after = char_after(text, b.end);
    return (left == Kind::kDigit && after.kind == Kind::kDigit) || abbreviates(text, a, b, after);
  }
  if (left == Kind::kApostrophe) return letter(b.kind) && letter(base_before(text, a.begin));
  if (left == Kind::kPoint) {
    return (b.kind == Kind::kDigit && base_before(text, a.begin) == Kind::kDigit) ||
           (a.value == '.' && initial(text, b) && initial(text, char_before(text, a.begin)));
  }
  return false;
}

// "'s" with no word behind it follows.
bool possessive(std::string_view text, const Char& apostrophe) noexcept {
  if (apostrophe.kind != Kind::kApostrophe) return false;
  const Char s = char_after(text, apostrophe.end);
  return (s.value == 's' || s.value == 'S') && !joined(text, s, char_after(text, s.end));
}

}  // namespace

std::size_t widen_begin(std::string_view text, std::size_t begin) {
  std::size_t at = begin;
  for (std::size_t step = 0; step < kMaxSteps; ++step) {
    const Char before = char_before(text, at);
    if (!joined(text, before, char_after(text, at))) return at;
    at = before.begin;
  }
  return begin;
}

std::size_t widen_end(std::string_view text, std::size_t end) {
  std::size_t at = end;
  for (std::size_t step = 0; step < kMaxSteps; ++step) {
    const Char after = char_after(text, at);
    if (possessive(text, after) || !joined(text, char_before(text, at), after)) return at;
    at = after.end;
  }
  return end;
}

TextRange widen_to_words(std::string_view text, TextRange range) {
  if (range.begin >= range.end) return range;
  return {widen_begin(text, range.begin), widen_end(text, range.end)};
}

TextRange trim_space(std::string_view text, TextRange range) {
  while (range.begin < range.end) {
    const Char c = char_after(text, range.begin);
    if (c.kind != Kind::kSpace) break;
    range.begin = c.end;
  }
  while (range.begin < range.end) {
    const Char c = char_before(text, range.end);
    if (c.kind != Kind::kSpace) break;
    range.end = c.begin;
  }
  return range;
}

}  // namespace kvasir::qa
