#include "grammar/json_schema.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "base/utf8.h"
#include "grammar/json_schema_types.h"
#include "grammar/json_text.h"
#include "kvasir/error.h"

namespace kvasir::grammar {

namespace {

namespace json = base::json;
using base::JsonObject;

// Of schemas in schemas, references followed; and of all that a schema becomes: 40 MB.
constexpr int kMaxDepth = 200;
constexpr std::size_t kMaxNodes = 500'000;
constexpr std::size_t kMaxLiterals =
    100'000;  // bytes of all constants and names: each may become a state of 1 KiB
constexpr std::size_t kMaxProperties = 1000;  // of one object: where one is due, all are tried

// Keywords that describe and do not constrain. (format too: JSON Schema 2020-12 makes it an annotation.)
constexpr auto kAnnotations = std::to_array<std::string_view>(
    {"$anchor", "$comment", "$defs", "$id", "$schema", "contentEncoding", "contentMediaType", "default",
     "definitions", "deprecated", "description", "discriminator", "examples", "format", "readOnly", "title",
     "writeOnly"});

constexpr auto kKeywords = std::to_array<std::string_view>(
    {"$ref", "additionalProperties", "allOf", "anyOf", "const", "enum", "items", "maxItems", "maxLength",
     "minItems", "minLength", "oneOf", "properties", "required", "type"});

template <std::size_t N>
bool is_one_of(const std::array<std::string_view, N>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

struct Property {
  std::string name;
  NodeId value;
  bool required;
};

class Compiler {
 public:
  Compiler(const json::value& root, const JsonSchemaOptions& options, std::string origin)
      : root_(root), origin_(std::move(origin)), text_(out_.grammar, options.ascii_only) {}

  JsonGrammar run() {
    const NodeId value = compile_reference("#", origin_);
    // Models write a space before a value gladly, and some tokenizers always.
    auto& g = out_.grammar;
    out_.root = g.sequence({g.optional(g.literal(" ")), value});
    if (!g.prune(out_.root)) {
      throw Error(ErrorCode::kInvalidArgument, origin_ + ": no JSON text matches the schema");
    }
    return std::move(out_);
  }

 private:
  struct Nested {
    Nested(Compiler& compiler, const std::string& where) : depth(compiler.depth_) {
      if (++depth > kMaxDepth || compiler.out_.grammar.size() > kMaxNodes) {
        throw Error(ErrorCode::kResourceExhausted, where + ": the schema is too deep or too large");
      }
    }
    ~Nested() { --depth; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;
    int& depth;
  };

  // The schema at a reference, compiled once for all references to it.
  NodeId compile_reference(const std::string& reference, const std::string& where) {
    if (const auto known = known_.find(reference); known != known_.end()) {
      if (open_.contains(reference)) {
        throw Error(ErrorCode::kInvalidArgument,
                    where + ": $ref " + reference + " refers to nothing but itself");
      }
      return known->second;
    }
    const json::value& target = resolve_reference(root_, reference, where);
    const NodeId declared = out_.grammar.declare();
    known_.emplace(reference, declared);
    open_.insert(reference);
    out_.grammar.define(declared, compile(target, reference == "#" ? where : origin_ + ": " + reference));
    open_.erase(reference);
    return declared;
  }

  // A schema inside a value: what refers to it from there does not begin with itself.
  NodeId compile_inside(const json::value& schema, const std::string& where) {
    std::set<std::string> open = std::exchange(open_, {});
    const NodeId out = compile(schema, where);
    open_ = std::move(open);
    return out;
  }

  NodeId compile(const json::value& schema, const std::string& where) {
    const Nested nested(*this, where);
    if (schema.is_bool()) return schema.get_bool() ? text_.any() : out_.grammar.choice({});
    const JsonObject object(schema, where);
    check_keywords(object);
    if (object.has("$ref")) {
      allow_beside(object, "$ref", {});
      return compile_reference(object.string("$ref"), where);
    }
    if (object.raw().contains("const")) {
      allow_beside(object, "const", {"type"});
      return compile_values(object, {object.raw().at("const")});
    }
    if (object.has("enum")) {
      allow_beside(object, "enum", {"type"});
      return compile_values(object, list(object, "enum"));
    }
    for (const char* keyword : {"anyOf", "oneOf", "allOf"}) {
      if (object.has(keyword)) return compile_branches(object, keyword);
    }
    return compile_types(object);
  }

  void check_keywords(const JsonObject& object) const {
    for (const auto& [key, value] : object.raw()) {
      if (is_one_of(kKeywords, key) || is_one_of(kAnnotations, key) || key.starts_with("x-")) continue;
      throw Error(ErrorCode::kUnsupported,
                  object.origin() + ": keyword " + std::string(key) + " is not supported");
    }
  }
  void allow_beside(const JsonObject& object, std::string_view keyword,
                    std::initializer_list<std::string_view> others) const {
    for (const auto& [key, value] : object.raw()) {
      if (key == keyword || is_one_of(kAnnotations, key) || key.starts_with("x-")) continue;
      if (std::find(others.begin(), others.end(), key) != others.end()) continue;
      throw Error(ErrorCode::kUnsupported, object.origin() + ": keyword " + std::string(key) + " beside " +
                                               std::string(keyword) + " is not supported");
    }
  }
  static const json::array& list(const JsonObject& object, const char* key) {
    const json::array* out = object.at(key).if_array();
    if (out == nullptr) object.fail(std::string("key ") + key + " is not a list");
    return *out;
  }

  // Those of the values that have one of the types.
  NodeId compile_values(const JsonObject& object, const json::array& values) {
    const JsonTypes types = types_of_keyword(object);
    std::vector<NodeId> ways;
    for (const json::value& value : values) {
      if ((type_of(value) & ~types) == 0) ways.push_back(counted(text_.value(value), object.origin()));
    }
    return out_.grammar.choice(std::move(ways));
  }

  NodeId counted(NodeId literal, const std::string& where) {
    literals_ += out_.grammar.node(literal).bytes.size();
    if (literals_ > kMaxLiterals) {
      throw Error(ErrorCode::kResourceExhausted,
                  where + ": the names and constants of the schema are over 100 KB");
    }
    return literal;
  }

  NodeId compile_branches(const JsonObject& object, const std::string& keyword) {
    allow_beside(object, keyword, {});
    const json::array& branches = list(object, keyword.c_str());
    if (branches.empty()) object.fail("key " + keyword + " is an empty list");
    if (keyword == "allOf" && branches.size() != 1) {
      throw Error(ErrorCode::kUnsupported, object.origin() + ": allOf of several schemas is not supported");
    }
    if (keyword == "oneOf") require_disjoint(branches, object.origin());
    std::vector<NodeId> ways;
    for (std::size_t i = 0; i < branches.size(); ++i) {
      ways.push_back(compile(branches[i], object.origin() + ": " + keyword + "[" + std::to_string(i) + "]"));
    }
    return out_.grammar.choice(std::move(ways));
  }

  void require_disjoint(const json::array& branches, const std::string& where) const {
    for (std::size_t i = 0; i < branches.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (are_disjoint(root_, branches[i], branches[j], where)) continue;
        throw Error(ErrorCode::kUnsupported,
                    where + ": branches " + std::to_string(j) + " and " + std::to_string(i) +
                        " of oneOf may both match; use anyOf, or give them a property with "
                        "different const values");
      }
    }
  }

  NodeId compile_types(const JsonObject& object) {
    const JsonTypes types = types_of_keyword(object);
    if (!object.has("type") && types == kAllTypes) return text_.any();
    auto& g = out_.grammar;
    std::vector<NodeId> ways;
    if ((types & kObject) != 0) ways.push_back(compile_object(object));
    if ((types & kArray) != 0) ways.push_back(compile_array(object));
    if ((types & kString) != 0) ways.push_back(text_.string(bounds(object, "minLength", "maxLength")));
    if ((types & kFraction) != 0) {
      ways.push_back(text_.number());
    } else if ((types & kInteger) != 0) {
      ways.push_back(text_.integer());
    }
    if ((types & kBoolean) != 0) ways.push_back(g.choice({g.literal("true"), g.literal("false")}));
    if ((types & kNull) != 0) ways.push_back(g.literal("null"));
    return g.choice(std::move(ways));
  }

  JsonText::Bounds bounds(const JsonObject& object, const char* min, const char* max) const {
    constexpr std::int64_t kMax = ByteGrammar::kUnlimited - 1;
    JsonText::Bounds out;
    out.min = static_cast<std::uint32_t>(object.integer_or(min, 0, 0, kMax));
    if (object.has(max)) out.max = static_cast<std::uint32_t>(object.integer(max, 0, kMax));
    return out;
  }

  NodeId compile_array(const JsonObject& object) {
    const NodeId item = object.raw().contains("items")
                            ? compile_inside(object.raw().at("items"), object.origin() + ": items")
                            : text_.any();
    return text_.array(item, bounds(object, "minItems", "maxItems"));
  }

  NodeId compile_object(const JsonObject& object) {
    std::vector<Property> properties;
    std::vector<std::string> names;
    std::set<std::string> required = required_names(object);
    if (object.has("properties")) {
      for (const auto& [key, schema] : object.object("properties").raw()) {
        const std::string name(key);
        const bool is_required = required.erase(name) > 0;
        properties.push_back(
            {name, compile_inside(schema, object.origin() + ": properties: " + name), is_required});
        names.push_back(name);
      }
    }
    const json::value* additional = object.raw().if_contains("additionalProperties");
    const bool has_additional = additional != nullptr ? !(additional->is_bool() && !additional->get_bool())
                                                      : !object.has("properties");
    const NodeId extra = !has_additional ? out_.grammar.choice({})
                         : additional != nullptr
                             ? compile_inside(*additional, object.origin() + ": additionalProperties")
                             : text_.any();
    for (const std::string& name : required) {  // those that `properties` does not describe
      properties.push_back({name, extra, true});
      names.push_back(name);
    }
    if (properties.size() > kMaxProperties) {
      throw Error(ErrorCode::kResourceExhausted,
                  object.origin() + ": an object with more than 1000 properties");
    }
    return object_of(properties, member_of(text_.name_except(names), extra));
  }

  std::set<std::string> required_names(const JsonObject& object) const {
    std::set<std::string> out;
    if (!object.has("required")) return out;
    for (const json::value& name : list(object, "required")) {
      if (!name.is_string()) object.fail("key required is not a list of strings");
      out.emplace(name.get_string());
    }
    return out;
  }

  NodeId member_of(NodeId name, NodeId value) {
    return out_.grammar.sequence({name, out_.grammar.literal(":"), text_.gap(), value});
  }

  // The properties in order, those that are not required or not, and then any number of extra members. From
  // the last one back: `rest` is what may follow after a member, `first` what may stand where one is due.
  NodeId object_of(const std::vector<Property>& properties, NodeId extra) {
    auto& g = out_.grammar;
    const NodeId comma = g.sequence({g.literal(","), text_.gap()});
    const NodeId close = g.sequence({text_.gap(), g.literal("}")});
    const NodeId extras = g.sequence({extra, g.repeat(g.sequence({comma, extra}), 0), close});
    NodeId due = extras;
    bool may_close = true;
    for (auto property = properties.rbegin(); property != properties.rend(); ++property) {
      const NodeId go_on = g.sequence({comma, due});
      const NodeId rest = may_close ? g.choice({go_on, close}) : go_on;
      const NodeId name = counted(g.literal(text_.quoted(property->name)), origin_);
      const NodeId member = member_of(name, property->value);
      const NodeId with = g.sequence({member, rest});
      due = property->required ? with : g.choice({with, due});
      may_close = may_close && !property->required;
    }
    return g.sequence({g.literal("{"), text_.gap(), may_close ? g.choice({due, g.literal("}")}) : due});
  }

  const json::value& root_;
  std::string origin_;
  JsonGrammar out_;
  JsonText text_;
  std::map<std::string, NodeId> known_;  // references
  std::set<std::string> open_;  // those whose schema is being compiled for the same place in the text
  int depth_ = 0;
  std::size_t literals_ = 0;  // bytes
};

}  // namespace

JsonGrammar compile_json_schema(const json::value& schema, const JsonSchemaOptions& options,
                                const std::string& origin) {
  return Compiler(schema, options, origin).run();
}

}  // namespace kvasir::grammar
