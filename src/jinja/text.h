// Python's str, as far as the template language needs it: code points, white space, cases, repr.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::jinja {

// All take well-formed UTF-8.
bool is_python_space(char32_t c) noexcept;  // str.isspace(): White_Space and U+001C to U+001F
std::size_t code_points(std::string_view text) noexcept;
// The byte offsets where code points begin, and text.size().
std::vector<std::size_t> boundaries(std::string_view text);

std::string_view strip_left(std::string_view text) noexcept;
std::string_view strip_right(std::string_view text) noexcept;

enum class Case { kUpper, kLower };
std::string with_case(std::string_view text, Case to);
std::string capitalized(std::string_view text);
std::string titled(std::string_view text);

void append_quoted(std::string_view text, std::string& out);  // repr()
void append_float(double value, std::string& out);            // repr()

}  // namespace kvasir::jinja
