// Whether a value is what a schema allows: the plain definition, for what the constraint makes.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "base/json.h"
#include "base/utf8.h"

namespace kvasir::tests {

class SchemaValidator {
 public:
  explicit SchemaValidator(const base::json::value& root) : root_(root) {}

  bool valid(const base::json::value& value) const { return valid(root_, value); }

 private:
  using Json = base::json::value;

  static bool has_type(const Json& value, std::string_view type) {
    if (type == "null") return value.is_null();
    if (type == "boolean") return value.is_bool();
    if (type == "string") return value.is_string();
    if (type == "array") return value.is_array();
    if (type == "object") return value.is_object();
    if (!value.is_number()) return false;
    return type == "number" || std::floor(value.to_number<double>()) == value.to_number<double>();
  }
  static bool same(const Json& a, const Json& b) {
    if (a.is_number() && b.is_number()) return a.to_number<double>() == b.to_number<double>();
    return a == b;
  }

  bool valid(const Json& schema, const Json& value) const {
    if (schema.is_bool()) return schema.get_bool();
    const auto& keys = schema.as_object();
    for (const auto& [key, rule] : keys) {
      if (!keeps(key, rule, keys, value)) return false;
    }
    return true;
  }

  bool keeps(std::string_view key, const Json& rule, const base::json::object& schema,
             const Json& value) const {
    const auto matching = [&] {
      return std::count_if(rule.as_array().begin(), rule.as_array().end(),
                           [&](const Json& branch) { return valid(branch, value); });
    };
    if (key == "$ref") {
      return valid(rule == "#" ? root_ : root_.at_pointer(std::string_view(rule.as_string()).substr(1)),
                   value);
    }
    if (key == "const") return same(rule, value);
    if (key == "enum") {
      return std::any_of(rule.as_array().begin(), rule.as_array().end(),
                         [&](const Json& one) { return same(one, value); });
    }
    if (key == "anyOf" || key == "allOf")
      return matching() >= (key == "anyOf" ? 1 : static_cast<long>(rule.as_array().size()));
    if (key == "oneOf") return matching() == 1;
    if (key == "type") {
      if (rule.is_string()) return has_type(value, rule.get_string());
      return std::any_of(rule.as_array().begin(), rule.as_array().end(),
                         [&](const Json& one) { return has_type(value, one.as_string()); });
    }
    if (value.is_object()) return keeps_object(key, rule, schema, value.get_object());
    if (value.is_array()) {
      const auto& items = value.get_array();
      if (key == "minItems") return items.size() >= rule.to_number<std::size_t>();
      if (key == "maxItems") return items.size() <= rule.to_number<std::size_t>();
      if (key == "items")
        return std::all_of(items.begin(), items.end(), [&](const Json& one) { return valid(rule, one); });
    }
    if (value.is_string()) {
      const std::string text(value.get_string());
      const std::size_t length = base::OffsetMap(text).code_points(text.size());
      if (key == "minLength") return length >= rule.to_number<std::size_t>();
      if (key == "maxLength") return length <= rule.to_number<std::size_t>();
    }
    return true;
  }

  bool keeps_object(std::string_view key, const Json& rule, const base::json::object& schema,
                    const base::json::object& value) const {
    if (key == "required") {
      return std::all_of(rule.as_array().begin(), rule.as_array().end(),
                         [&](const Json& name) { return value.contains(name.as_string()); });
    }
    if (key == "properties") {
      return std::all_of(rule.as_object().begin(), rule.as_object().end(), [&](const auto& property) {
        const Json* member = value.if_contains(property.key());
        return member == nullptr || valid(property.value(), *member);
      });
    }
    if (key == "additionalProperties") {
      const Json* properties = schema.if_contains("properties");
      return std::all_of(value.begin(), value.end(), [&](const auto& member) {
        return (properties != nullptr && properties->as_object().contains(member.key())) ||
               valid(rule, member.value());
      });
    }
    return true;
  }

  const Json& root_;
};

}  // namespace kvasir::tests
