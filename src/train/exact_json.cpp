#include "train/exact_json.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "base/utf8.h"
#include "jinja/text.h"
#include "kvasir/error.h"

namespace kvasir::train {

namespace {

namespace json = base::json;
using ErrorCodeOut = boost::system::error_code;

constexpr std::size_t kMaxDepth = 100;  // as base::parse_json

// What Boost.JSON's own parser does, but for numbers with a fraction or an exponent.
struct ExactHandler {
  // NOLINTBEGIN(readability-identifier-naming): Boost's names.
  static constexpr std::size_t max_object_size = json::object::max_size();
  static constexpr std::size_t max_array_size = json::array::max_size();
  static constexpr std::size_t max_key_size = json::string::max_size();
  static constexpr std::size_t max_string_size = json::string::max_size();
  // NOLINTEND(readability-identifier-naming)

  json::value_stack stack;
  std::string number;  // its text so far

  bool on_document_begin(ErrorCodeOut&) { return true; }
  bool on_document_end(ErrorCodeOut&) { return true; }
  bool on_object_begin(ErrorCodeOut&) { return true; }
  bool on_object_end(std::size_t size, ErrorCodeOut&) {
    stack.push_object(size);
    return true;
  }
  bool on_array_begin(ErrorCodeOut&) { return true; }
  bool on_array_end(std::size_t size, ErrorCodeOut&) {
    stack.push_array(size);
    return true;
  }
  bool on_key_part(json::string_view part, std::size_t, ErrorCodeOut&) {
    stack.push_chars(part);
    return true;
  }
  bool on_key(json::string_view part, std::size_t, ErrorCodeOut&) {
    stack.push_key(part);
    return true;
  }
  bool on_string_part(json::string_view part, std::size_t, ErrorCodeOut&) {
    stack.push_chars(part);
    return true;
  }
  bool on_string(json::string_view part, std::size_t, ErrorCodeOut&) {
    stack.push_string(part);
    return true;
  }
  bool on_number_part(json::string_view part, ErrorCodeOut&) {
    number += part;
    return true;
  }
  bool on_int64(std::int64_t value, json::string_view, ErrorCodeOut&) {
    number.clear();
    stack.push_int64(value);
    return true;
  }
  bool on_uint64(std::uint64_t value, json::string_view, ErrorCodeOut&) {
    number.clear();
    stack.push_uint64(value);
    return true;
  }
  bool on_double(double nearly, json::string_view part, ErrorCodeOut&) {
    number += part;
    double value = 0;
    const auto result = std::from_chars(number.data(), number.data() + number.size(), value);
    // Out of range: Boost's 0 or infinity.
    stack.push_double(result.ec == std::errc() ? value : nearly);
    number.clear();
    return true;
  }
  bool on_bool(bool value, ErrorCodeOut&) {
    stack.push_bool(value);
    return true;
  }
  bool on_null(ErrorCodeOut&) {
    stack.push_null();
    return true;
  }
  bool on_comment_part(json::string_view, ErrorCodeOut&) { return true; }
  bool on_comment(json::string_view, ErrorCodeOut&) { return true; }
};

}  // namespace

json::value parse_exact_json(std::string_view text, const std::string& origin, std::size_t line) {
  json::parse_options options;
  options.max_depth = kMaxDepth;
  json::basic_parser<ExactHandler> parser(options);
  parser.handler().stack.reset();
  ErrorCodeOut error;
  const std::size_t read = parser.write_some(false, text.data(), text.size(), error);
  const std::size_t rest = text.find_first_not_of(" \t\r\n", read);
  if (error || rest != std::string_view::npos) {
    const auto lines = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(read), '\n');
    throw Error(ErrorCode::kFormat, origin + ":" + std::to_string(line + static_cast<std::size_t>(lines)) +
                                        ": not valid JSON: " +
                                        (error ? error.message() : "something follows the end of the value"));
  }
  return parser.handler().stack.release();
}

void append_number(double value, std::string& out) {
  if (std::isfinite(value)) {
    jinja::append_float(value, out);
  } else {
    out += "null";
  }
}

void append_string(std::string_view text, std::string& out) {
  out += json::serialize(json::value(base::replace_invalid_utf8(text)));
}

double number_or_nan(const base::JsonObject& object, std::string_view key) {
  return object.at(key).is_null() ? std::numeric_limits<double>::quiet_NaN() : object.number(key);
}

}  // namespace kvasir::train
