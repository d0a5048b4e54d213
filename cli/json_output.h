// JSON, appended to a string: for output that is written faster than it could be built as a tree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace kvasir::cli {

// A JSON string literal. Control characters are escaped, everything else stays UTF-8; bytes that are not
// well-formed UTF-8 (possible in file names only) become U+FFFD.
void append_json_string(std::string& out, std::string_view text);
// The shortest digits that read back as the same double; null for NaN and infinities, which JSON lacks.
void append_json_number(std::string& out, double value);
void append_json_number(std::string& out, float value);  // the same float
void append_json_integer(std::string& out, std::int64_t value);

}  // namespace kvasir::cli
