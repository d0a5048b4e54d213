// Python's str, as far as the template language needs it besides unicode/python_text.h: code points, cases,
// repr.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::jinja {

// Precondition of all: well-formed UTF-8.
std::size_t code_points(std::string_view text) noexcept;
// The byte offsets where code points begin, and text.size().
std::vector<std::size_t> boundaries(std::string_view text);

std::string to_upper(std::string_view text);  // lower case: unicode::to_lower
std::string capitalized(std::string_view text);
std::string titled(std::string_view text);

void append_quoted(std::string_view text, std::string& out);  // repr()
void append_float(double value, std::string& out);            // repr()

}  // namespace kvasir::jinja
