// Access to parsed JSON with errors that name the file and the key. Parsing itself is Boost.JSON's.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace kvasir::base {

namespace json = boost::json;

struct ParseOptions {
  // Strings may hold any bytes; whoever reads them checks them (base::find_invalid_utf8).
  bool allow_invalid_utf8 = false;
};
// Parses a whole text or file. Throws kFormat "ORIGIN:LINE: …" for bad JSON or nesting over 100 levels. Of
// duplicate keys the last wins, as in Python's json; formats that must refuse them (safetensors) check for
// themselves.
json::value parse_json(std::string_view text, const std::string& origin, const ParseOptions& options = {});
json::value parse_json_file(const std::filesystem::path& path);

// A view of one JSON object and its origin ("models/x/config.json: normalizer.").
class JsonObject {
 public:
  // Throws kFormat if value is not an object.
  JsonObject(const json::value& value, std::string origin);

  bool has(std::string_view key) const;               // present and not null
  const json::value& at(std::string_view key) const;  // throws kFormat "ORIGIN: key K is missing"
  JsonObject object(std::string_view key) const;      // the nested object, origin extended by the key

  // Each throws kFormat if the key is missing (without fallback) or of another type; integers also if out of
  // [min, max].
  std::int64_t integer(std::string_view key, std::int64_t min, std::int64_t max) const;
  std::int64_t integer_or(std::string_view key, std::int64_t fallback, std::int64_t min,
                          std::int64_t max) const;
  double number(std::string_view key) const;
  double number_or(std::string_view key, double fallback) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::string string(std::string_view key) const;
  std::string string_or(std::string_view key, std::string_view fallback) const;

  const json::object& raw() const { return *object_; }
  const std::string& origin() const { return origin_; }
  // Throws kFormat "ORIGIN: message".
  [[noreturn]] void fail(const std::string& message) const;

 private:
  const json::object* object_;
  std::string origin_;
};

}  // namespace kvasir::base
