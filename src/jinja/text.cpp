#include "jinja/text.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/utf8.h"
#include "unicode/python_text.h"

namespace kvasir::jinja {

namespace {

bool is_cased(char32_t c) noexcept {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT;
}

// What case folding makes of ligatures, ß and others that have no capital of their own: several letters.
std::u32string folded_letters(char32_t c) {
  const auto code = static_cast<utf8proc_int32_t>(c);
  if (utf8proc_category(code) == UTF8PROC_CATEGORY_LU) return {};
  std::array<utf8proc_int32_t, 8> folded;
  int boundary = 0;
  const auto count =
      utf8proc_decompose_char(code, folded.data(), folded.size(), UTF8PROC_CASEFOLD, &boundary);
  if (count < 2 || count > static_cast<utf8proc_ssize_t>(folded.size())) return {};
  return std::u32string(folded.begin(), folded.begin() + count);
}

char32_t upper_of(char32_t c) noexcept {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}

void append_upper(char32_t c, std::string& out) {
  const std::u32string letters = folded_letters(c);
  if (letters.empty()) base::append_utf8(out, upper_of(c));
  for (const char32_t letter : letters) base::append_utf8(out, upper_of(letter));
}

// The first of several letters becomes a capital.
void append_title(char32_t c, std::string& out) {
  const auto title = static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
  std::u32string letters = title == c ? folded_letters(c) : std::u32string();
  const auto first = std::find_if(letters.begin(), letters.end(), is_cased);
  if (first != letters.end()) *first = upper_of(*first);
  if (letters.empty()) letters = title;
  for (const char32_t letter : letters) base::append_utf8(out, letter);
}

// str.isprintable()
bool is_printable(char32_t c) noexcept {
  if (c == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

}  // namespace

std::size_t code_points(std::string_view text) noexcept {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

std::vector<std::size_t> boundaries(std::string_view text) {
  std::vector<std::size_t> out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if ((static_cast<unsigned char>(text[at]) & 0xC0) != 0x80) out.push_back(at);
  }
  out.push_back(text.size());
  return out;
}

std::string to_upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto [c, length] = base::decode_utf8(text, at);
    append_upper(c, out);
    at += length;
  }
  return out;
}

std::string capitalized(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto [c, length] = base::decode_utf8(text, at);
    if (at == 0) {
      append_title(c, out);
    } else {
      unicode::append_lower(text, at, out);
    }
    at += length;
  }
  return out;
}

// As the filter of Jinja, not str.title(): words begin after white space and - ( { [ <.
std::string titled(std::string_view text) {
  std::string out;
  bool begins = true;
  for (std::size_t at = 0; at < text.size();) {
    const auto [c, length] = base::decode_utf8(text, at);
    if (begins) {
      append_upper(c, out);
    } else {
      unicode::append_lower(text, at, out);
    }
    begins = unicode::is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
    at += length;
  }
  return out;
}

void append_quoted(std::string_view text, std::string& out) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out += quote;
  for (std::size_t at = 0; at < text.size();) {
    const auto [c, length] = base::decode_utf8(text, at);
    if (c == static_cast<unsigned char>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (!is_printable(c)) {
      std::array<char, 16> escape;
      const char* format = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
      std::snprintf(escape.data(), escape.size(), format, static_cast<unsigned>(c));
      out += escape.data();
    } else {
      out.append(text, at, length);
    }
    at += length;
  }
  out += quote;
}

// The shortest digits that give the number back, in scientific notation from 1e16 and below 1e-4.
void append_float(double value, std::string& out) {
  if (std::isnan(value)) {
    out += "nan";
    return;
  }
  if (std::isinf(value)) {
    out += value < 0 ? "-inf" : "inf";
    return;
  }
  std::array<char, 400> buffer;  // the longest fixed number has 309 digits
  const double size = std::abs(value);
  const bool scientific = size != 0 && (size >= 1e16 || size < 1e-4);
  const auto [end, error] =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                    scientific ? std::chars_format::scientific : std::chars_format::fixed);
  const std::string_view digits(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  out += digits;
  if (!scientific && digits.find('.') == std::string_view::npos) out += ".0";
}

}  // namespace kvasir::jinja
