#include "base/json.h"

#include <cmath>
#include <vector>

#include "base/mapped_file.h"
#include "kvasir/error.h"

namespace kvasir::base {

namespace {

constexpr std::size_t kMaxDepth = 100;

std::size_t line_of(std::string_view text, std::size_t at) {
  std::size_t line = 1;
  for (const char c : text.substr(0, at)) line += c == '\n' ? 1 : 0;
  return line;
}

const char* kind_name(json::kind kind) {
  switch (kind) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
      return "an integer";
    case json::kind::double_:
      return "a number";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "a list";
    case json::kind::object:
      return "an object";
  }
  return "something else";
}

}  // namespace

json::value parse_json(std::string_view text, const std::string& origin, const ParseOptions& options) {
  json::parse_options rules;
  rules.max_depth = kMaxDepth;
  rules.allow_invalid_utf8 = options.allow_invalid_utf8;
  json::stream_parser parser({}, rules);
  boost::system::error_code error;
  const std::size_t read = parser.write_some(text.data(), text.size(), error);
  if (!error) parser.finish(error);
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::kFormat,
                origin + ":" + std::to_string(line_of(text, read)) + ": not valid JSON: " + what);
  };
  if (error == json::error::too_deep) fail("nested more than " + std::to_string(kMaxDepth) + " levels deep");
  if (error) fail(error.message());
  if (const std::size_t rest = text.find_first_not_of(" \t\r\n", read); rest != std::string_view::npos) {
    fail("something follows the end of the document");
  }
  return parser.release();
}

json::value parse_json_file(const std::filesystem::path& path) {
  return parse_json(read_file(path), path.string());
}

JsonObject::JsonObject(const json::value& value, std::string origin)
    : object_(value.if_object()), origin_(std::move(origin)) {
  if (object_ == nullptr) {
    throw Error(ErrorCode::kFormat, origin_ + ": is " + kind_name(value.kind()) + " where an object is due");
  }
}

void JsonObject::fail(const std::string& message) const {
  throw Error(ErrorCode::kFormat, origin_ + ": " + message);
}

bool JsonObject::has(std::string_view key) const {
  const json::value* value = object_->if_contains(key);
  return value != nullptr && !value->is_null();
}

const json::value& JsonObject::at(std::string_view key) const {
  const json::value* value = object_->if_contains(key);
  if (value == nullptr) fail("key " + std::string(key) + " is missing");
  return *value;
}

JsonObject JsonObject::object(std::string_view key) const {
  return JsonObject(at(key), origin_ + ": " + std::string(key));
}

std::int64_t JsonObject::integer(std::string_view key, std::int64_t min, std::int64_t max) const {
  const json::value& value = at(key);
  std::int64_t number = 0;
  if (value.is_int64()) {
    number = value.get_int64();
  } else if (value.is_double() && std::floor(value.get_double()) == value.get_double() &&
             std::abs(value.get_double()) < 9e15) {
    number = static_cast<std::int64_t>(value.get_double());  // 768.0, as some exporters write
  } else if (!value.is_uint64()) {
    fail("key " + std::string(key) + " is " + kind_name(value.kind()) + " where an integer is due");
  }
  if (value.is_uint64() || number < min || number > max) {
    fail("key " + std::string(key) + " = " + json::serialize(value) + " is out of range [" +
         std::to_string(min) + ", " + std::to_string(max) + "]");
  }
  return number;
}

std::int64_t JsonObject::integer_or(std::string_view key, std::int64_t fallback, std::int64_t min,
                                    std::int64_t max) const {
  return has(key) ? integer(key, min, max) : fallback;
}

double JsonObject::number(std::string_view key) const {
  const json::value& value = at(key);
  if (!value.is_number())
    fail("key " + std::string(key) + " is " + kind_name(value.kind()) + " where a number is due");
  return value.to_number<double>();
}

double JsonObject::number_or(std::string_view key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

bool JsonObject::boolean_or(std::string_view key, bool fallback) const {
  if (!has(key)) return fallback;
  const json::value& value = at(key);
  if (!value.is_bool())
    fail("key " + std::string(key) + " is " + kind_name(value.kind()) + " where a boolean is due");
  return value.get_bool();
}

std::string JsonObject::string(std::string_view key) const {
  const json::value& value = at(key);
  if (!value.is_string())
    fail("key " + std::string(key) + " is " + kind_name(value.kind()) + " where a string is due");
  return std::string(value.get_string());
}

std::string JsonObject::string_or(std::string_view key, std::string_view fallback) const {
  return has(key) ? string(key) : std::string(fallback);
}

}  // namespace kvasir::base
