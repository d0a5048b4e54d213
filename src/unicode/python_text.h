// Python's view of characters, for results that must equal the reference's: str.lower(), \w, str.isspace().
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kvasir::unicode {

// str.lower(): full Unicode mapping, with U+0130 as two code points and the final form of sigma depending on
// its neighbours. Precondition: well-formed UTF-8.
std::string to_lower(std::string_view text);
// Appends the lower case of the code point at a byte of the text; returns the number of bytes of that code
// point.
std::size_t append_lower(std::string_view text, std::size_t at, std::string& out);

// \w of Python's re on str: letters and numbers of any script and "_"; combining marks are not included.
bool is_word_char(char32_t c) noexcept;

// str.isspace() for one character; the separators of str.split() and the characters of str.strip().
bool is_space(char32_t c) noexcept;

// str.lstrip(), str.rstrip(), str.strip(). Precondition: well-formed UTF-8.
std::string_view strip_left(std::string_view text) noexcept;
std::string_view strip_right(std::string_view text) noexcept;
std::string_view strip(std::string_view text) noexcept;

enum class CharClass { kLetter, kNumber, kMark, kOther };
// General category L*, N*, M* or none of these.
CharClass char_class(char32_t c) noexcept;

}  // namespace kvasir::unicode
