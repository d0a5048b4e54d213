// JSON whose numbers are what was written: base/json.h reads one in six of the numbers with 16 digits or more
// as a neighbor of it (Boost 1.81 multiplies by a power of ten), which a resumed run must not.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/json.h"

namespace kvasir::train {

// As base::parse_json; `line`: of the first byte of the text in its file, for errors.
base::json::value parse_exact_json(std::string_view text, const std::string& origin, std::size_t line = 1);

// As Python writes it: 5.0, 1e-05. JSON has no words for infinities and no number: null.
void append_number(double value, std::string& out);
// A string of JSON with its quotes.
void append_string(std::string_view text, std::string& out);

// null, which append_number writes, is no number (NaN). Throws kFormat as JsonObject::number.
double number_or_nan(const base::JsonObject& object, std::string_view key);

}  // namespace kvasir::train
