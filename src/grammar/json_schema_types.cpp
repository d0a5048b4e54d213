#include "grammar/json_schema_types.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/error.h"

namespace kvasir::grammar {

namespace json = base::json;

namespace {

JsonTypes named_type(const json::value& name, const base::JsonObject& schema) {
  constexpr std::array<std::pair<std::string_view, JsonTypes>, 7> kNames = {{{"null", kNull},
                                                                             {"boolean", kBoolean},
                                                                             {"integer", kInteger},
                                                                             {"number", kInteger | kFraction},
                                                                             {"string", kString},
                                                                             {"array", kArray},
                                                                             {"object", kObject}}};
  if (name.is_string()) {
    for (const auto& [known, types] : kNames) {
      if (known == std::string_view(name.get_string())) return types;
    }
  }
  schema.fail("there is no type " + json::serialize(name));
}

// Follows references that stand alone.
const json::value& resolved(const json::value& root, const json::value& schema, const std::string& where) {
  const json::value* out = &schema;
  for (int i = 0; i < 20; ++i) {  // further, and it is taken for one that may match anything
    const auto* object = out->if_object();
    const json::value* reference = object != nullptr ? object->if_contains("$ref") : nullptr;
    if (reference == nullptr || !reference->is_string()) break;
    out = &resolve_reference(root, std::string(reference->get_string()), where);
  }
  return *out;
}

// The values that a schema lists, if it does.
std::optional<std::vector<json::value>> listed_values(const json::object& schema) {
  if (const json::value* value = schema.if_contains("const")) return std::vector{*value};
  const json::value* values = schema.if_contains("enum");
  if (values == nullptr || !values->is_array()) return std::nullopt;
  return std::vector<json::value>(values->get_array().begin(), values->get_array().end());
}

// As JSON Schema has it: 1 is 1.0.
bool equal(const json::value& a, const json::value& b) {
  if (a.is_number() && b.is_number()) return a.to_number<double>() == b.to_number<double>();
  return a == b;
}

bool requires_property(const json::object& schema, std::string_view name) {
  const json::value* required = schema.if_contains("required");
  if (required == nullptr || !required->is_array()) return false;
  return std::any_of(required->get_array().begin(), required->get_array().end(),
                     [&](const json::value& one) { return one.is_string() && one.get_string() == name; });
}

class Disjointness {
 public:
  Disjointness(const json::value& root, const std::string& where) : root_(root), where_(where) {}

  bool between(const json::value& a, const json::value& b, int depth) const {
    if (depth > 5)
      return false;  // a property of a property of …: schemas do not distinguish values at such a depth
    const json::value &x = resolved(root_, a, where_), &y = resolved(root_, b, where_);
    if ((types(x, 0) & types(y, 0)) == 0) return true;
    if (!x.is_object() || !y.is_object()) return false;
    const auto one = listed_values(x.get_object()), other = listed_values(y.get_object());
    if (one && other) {
      return std::none_of(one->begin(), one->end(), [&](const json::value& value) {
        return std::any_of(other->begin(), other->end(),
                           [&](const json::value& x1) { return equal(x1, value); });
      });
    }
    return differ_in_property(x.get_object(), y.get_object(), depth);
  }

 private:
  JsonTypes types(const json::value& schema, int depth) const {
    const json::value& target = resolved(root_, schema, where_);
    if (!target.is_object() || depth > 5) return kAllTypes;
    const json::object& object = target.get_object();
    if (const auto values = listed_values(object)) {
      JsonTypes out = 0;
      for (const json::value& value : *values) out |= type_of(value);
      return out;
    }
    for (const char* keyword : {"anyOf", "oneOf"}) {
      const json::value* branches = object.if_contains(keyword);
      if (branches == nullptr || !branches->is_array()) continue;
      JsonTypes out = 0;
      for (const json::value& branch : branches->get_array()) out |= types(branch, depth + 1);
      return out;
    }
    if (object.contains("allOf") || object.contains("$ref")) return kAllTypes;
    return types_of_keyword(base::JsonObject(target, where_));
  }

  bool differ_in_property(const json::object& a, const json::object& b, int depth) const {
    const json::value *x = a.if_contains("properties"), *y = b.if_contains("properties");
    if (x == nullptr || y == nullptr || !x->is_object() || !y->is_object()) return false;
    if ((types(json::value(a), 0) | types(json::value(b), 0)) != kObject) return false;
    for (const auto& [name, schema] : x->get_object()) {
      const json::value* other = y->get_object().if_contains(name);
      if (other == nullptr || !requires_property(a, name) || !requires_property(b, name)) continue;
      if (between(schema, *other, depth + 1)) return true;
    }
    return false;
  }

  const json::value& root_;
  const std::string& where_;
};

}  // namespace

JsonTypes type_of(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return kNull;
    case json::kind::bool_:
      return kBoolean;
    case json::kind::int64:
    case json::kind::uint64:
      return kInteger;
    case json::kind::double_:
      return std::floor(value.get_double()) == value.get_double() ? kInteger : kFraction;
    case json::kind::string:
      return kString;
    case json::kind::array:
      return kArray;
    case json::kind::object:
      return kObject;
  }
  return kAllTypes;
}

JsonTypes types_of_keyword(const base::JsonObject& schema) {
  if (schema.has("type")) {
    const json::value& type = schema.at("type");
    if (!type.is_array()) return named_type(type, schema);
    JsonTypes out = 0;
    for (const json::value& one : type.get_array()) out |= named_type(one, schema);
    return out;
  }
  JsonTypes out = 0;
  for (const char* key : {"properties", "required", "additionalProperties"}) {
    if (schema.raw().contains(key)) out |= kObject;
  }
  for (const char* key : {"items", "minItems", "maxItems"}) {
    if (schema.raw().contains(key)) out |= kArray;
  }
  for (const char* key : {"minLength", "maxLength"}) {
    if (schema.raw().contains(key)) out |= kString;
  }
  return out == 0 ? kAllTypes : out;
}

const json::value& resolve_reference(const json::value& root, const std::string& reference,
                                     const std::string& where) {
  if (reference == "#") return root;
  if (!reference.starts_with("#/")) {
    throw Error(ErrorCode::kUnsupported, where + ": $ref " + reference + " is not within the schema (#/…)");
  }
  boost::system::error_code error;
  const json::value* found = root.find_pointer(reference.substr(1), error);
  if (found == nullptr || error) {
    throw Error(ErrorCode::kFormat, where + ": $ref " + reference + " is nowhere in the schema");
  }
  return *found;
}

bool are_disjoint(const json::value& root, const json::value& a, const json::value& b,
                  const std::string& where) {
  return Disjointness(root, where).between(a, b, 0);
}

}  // namespace kvasir::grammar
