#include "unicode/python_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "base/utf8.h"

namespace kvasir::unicode {

namespace {

struct CodeRange {
  char32_t first, last;
};

template <std::size_t N>
bool contains(const std::array<CodeRange, N>& ranges, char32_t c) noexcept {
  return std::any_of(ranges.begin(), ranges.end(),
                     [c](const CodeRange& r) { return c >= r.first && c <= r.last; });
}

// White_Space of Unicode and the four ASCII separators 1C to 1F that Python adds to it.
constexpr std::array<CodeRange, 10> kSpaces{{{0x09, 0x0D},
                                             {0x1C, 0x20},
                                             {0x85, 0x85},
                                             {0xA0, 0xA0},
                                             {0x1680, 0x1680},
                                             {0x2000, 0x200A},
                                             {0x2028, 0x2029},
                                             {0x202F, 0x202F},
                                             {0x205F, 0x205F},
                                             {0x3000, 0x3000}}};

// Other_Lowercase and Other_Uppercase without the characters that are Case_Ignorable as well: what is Cased
// beside the categories Lu, Ll and Lt.
constexpr std::array<CodeRange, 7> kOtherCased{{{0xAA, 0xAA},
                                                {0xBA, 0xBA},
                                                {0x2160, 0x217F},
                                                {0x24B6, 0x24E9},
                                                {0x1F130, 0x1F149},
                                                {0x1F150, 0x1F169},
                                                {0x1F170, 0x1F189}}};

// Word_Break = MidLetter, MidNumLet or Single_Quote: what is Case_Ignorable beside Mn, Me, Cf, Lm and Sk
// (Unicode 3.13, D136).
constexpr std::array<CodeRange, 16> kMidWord{{{0x27, 0x27},
                                              {0x2E, 0x2E},
                                              {0x3A, 0x3A},
                                              {0xB7, 0xB7},
                                              {0x387, 0x387},
                                              {0x55F, 0x55F},
                                              {0x5F4, 0x5F4},
                                              {0x2018, 0x2019},
                                              {0x2024, 0x2024},
                                              {0x2027, 0x2027},
                                              {0xFE13, 0xFE13},
                                              {0xFE52, 0xFE52},
                                              {0xFE55, 0xFE55},
                                              {0xFF07, 0xFF07},
                                              {0xFF0E, 0xFF0E},
                                              {0xFF1A, 0xFF1A}}};

constexpr char32_t kSigma = 0x3A3, kSmallSigma = 0x3C3, kFinalSigma = 0x3C2;

utf8proc_category_t category(char32_t c) noexcept {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool case_ignorable(char32_t c) noexcept {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return contains(kMidWord, c);
  }
}

bool cased(char32_t c) noexcept {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
      return true;
    default:
      return contains(kOtherCased, c);
  }
}

// Unicode 3.13, Final_Sigma: a cased letter before and none after, case-ignorable characters skipped.
bool final_sigma(std::string_view before, std::string_view after) noexcept {
  bool cased_before = false;
  for (std::size_t end = before.size(); end > 0;) {
    std::size_t at = end - 1;
    while ((static_cast<unsigned char>(before[at]) & 0xC0) == 0x80) --at;
    const char32_t c = base::decode_utf8(before, at).value;
    if (!case_ignorable(c)) {
      cased_before = cased(c);
      break;
    }
    end = at;
  }
  if (!cased_before) return false;
  for (std::size_t at = 0; at < after.size();) {
    const base::CodePoint c = base::decode_utf8(after, at);
    if (!case_ignorable(c.value)) return !cased(c.value);
    at += c.length;
  }
  return true;
}

char ascii_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

}  // namespace

std::size_t append_lower(std::string_view text, std::size_t at, std::string& out) {
  if (static_cast<unsigned char>(text[at]) < 0x80) {
    out.push_back(ascii_lower(text[at]));
    return 1;
  }
  const base::CodePoint c = base::decode_utf8(text, at);
  if (c.value == 0x130) {  // the only unconditional lower case of two code points
    out += "i\u0307";
  } else if (c.value == kSigma) {
    const bool is_final = final_sigma(text.substr(0, at), text.substr(at + c.length));
    base::append_utf8(out, is_final ? kFinalSigma : kSmallSigma);
  } else {
    base::append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.value))));
  }
  return c.length;
}

std::string to_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) at += append_lower(text, at, out);
  return out;
}

CharClass char_class(char32_t c) noexcept {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharClass::kLetter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharClass::kNumber;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return CharClass::kMark;
    default:
      return CharClass::kOther;
  }
}

bool is_word_char(char32_t c) noexcept {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  const CharClass kind = char_class(c);
  return kind == CharClass::kLetter || kind == CharClass::kNumber;
}

bool is_space(char32_t c) noexcept {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F);
  return contains(kSpaces, c);
}

std::string_view strip_left(std::string_view text) noexcept {
  while (!text.empty()) {
    const base::CodePoint c = base::decode_utf8(text, 0);
    if (!is_space(c.value)) break;
    text.remove_prefix(c.length);
  }
  return text;
}

std::string_view strip_right(std::string_view text) noexcept {
  while (!text.empty()) {
    std::size_t at = text.size() - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    if (!is_space(base::decode_utf8(text, at).value)) break;
    text = text.substr(0, at);
  }
  return text;
}

std::string_view strip(std::string_view text) noexcept {
  return strip_left(strip_right(text));
}

}  // namespace kvasir::unicode
