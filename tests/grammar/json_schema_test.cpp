// What the grammar of a schema takes and refuses.
#include "grammar/json_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "grammar/byte_matcher.h"
#include "kvasir/error.h"

namespace kvasir::grammar {
namespace {

namespace json = base::json;
using ::testing::HasSubstr;

json::value parse(const std::string& text) {
  return base::parse_json(text, "schema");
}

bool takes(const JsonGrammar& grammar, std::string_view text) {
  ByteMatcher matcher(grammar.grammar, grammar.root);
  StateId state = matcher.start();
  for (const char byte : text) state = matcher.next(state, static_cast<std::uint8_t>(byte));
  return matcher.complete(state);
}

void expect_takes(const std::string& schema, const std::vector<std::string>& good,
                  const std::vector<std::string>& bad) {
  const auto grammar = compile_json_schema(parse(schema), {}, "schema");
  for (const std::string& text : good) EXPECT_TRUE(takes(grammar, text)) << schema << "  " << text;
  for (const std::string& text : bad) EXPECT_FALSE(takes(grammar, text)) << schema << "  " << text;
}

TEST(JsonSchema, SimpleTypes) {
  expect_takes(R"({"type": "null"})", {"null", " null"}, {"", "nul", "nulls", "0"});
  expect_takes(R"({"type": "boolean"})", {"true", "false"}, {"True", "tru", "1"});
  expect_takes(R"({"type": "integer"})", {"0", "-0", "7", "-12", "999999999999999"},
               {"", "-", "01", "1.0", "1e3", "+1", "9999999999999999"});
  expect_takes(R"({"type": "number"})", {"0", "-1.50", "1e9", "2.5E-10"}, {".5", "1.", "1e", "1e999", "NaN"});
  expect_takes(R"({"type": ["string", "null"]})", {"null", R"("a")"}, {"1", "true"});
}

TEST(JsonSchema, Strings) {
  expect_takes(R"({"type": "string"})",
               {R"("")", R"("a b")", R"("\n\u00e9\"\\")", "\"\u65E5\U0001F600\"", R"("\uD7ff")"},
               {"\"", "\"a", "\"\n\"", R"("\x")", R"("\ud800")", "\"\xFF\"", "\"\xC3\"", "\"\xED\xA0\x80\"",
                "\"\xC0\x80\""});
  expect_takes(R"({"type": "string", "minLength": 2, "maxLength": 3})",
               {R"("ab")", R"("\u0061bc")", "\"\u65E5\u672C\""}, {R"("a")", R"("abcd")"});
  expect_takes(R"({"minLength": 1})", {R"("a")"}, {R"("")", "1"});
}

TEST(JsonSchema, ConstAndEnum) {
  expect_takes(R"({"enum": ["red", "green", null, 3]})", {R"("red")", "null", "3"},
               {R"("blue")", "\"red", "33", "4"});
  expect_takes(R"({"const": {"a": [1, "\u00e9"]}})", {"{\"a\": [1, \"\u00E9\"]}"}, {R"({"a":[1,"x"]})"});
  expect_takes(R"({"type": "string", "enum": ["a", 1]})", {R"("a")"}, {"1"});
  expect_takes(R"({"const": 1.5})", {"1.5"}, {"1"});
  expect_takes(R"({"const": null})", {"null"}, {"0"});
}

TEST(JsonSchema, Arrays) {
  expect_takes(R"({"type": "array", "items": {"type": "integer"}})",
               {"[]", "[1]", "[1,2]", "[ 1, 2 ]", "[\n  1,\n  2\n]"},
               {"[", "[1", "[1,]", "[,1]", "[1 2]", "[\"a\"]"});
  expect_takes(R"({"items": {"type": "null"}, "minItems": 1, "maxItems": 2})", {"[null]", "[null,null]"},
               {"[]", "[null,null,null]"});
  expect_takes(R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]"});
  expect_takes(R"({"type": "array", "items": false})", {"[]"}, {"[1]"});
  expect_takes(R"({"type": "array", "minItems": 300, "maxItems": 300, "items": {"const": 1}})", {},
               {"[1]", "[]"});
}

TEST(JsonSchema, Objects) {
  expect_takes(R"({"properties": {"a": {"type": "integer"}, "b": {"type": "null"}}, "required": ["b"]})",
               {R"({"a": 1, "b": null})", R"({"b":null})", "{\n  \"b\": null\n}"},
               {"{}", R"({"a":1})", R"({"b":null,"a":1})", R"({"b":null,"c":1})", R"({"b":null,})",
                R"({"b":null,"b":null})"});
  expect_takes(R"({"properties": {"a": true, "b": true, "c": true}})",
               {"{}", R"({"a":1})", R"({"a":1,"c":[]})", R"({"b":{}})", R"({"a":1,"b":2,"c":3})"},
               {"{,}", R"({"c":1,"a":1})", R"({"a":1,"a":1})"});
  expect_takes(R"({"type": "object"})", {"{}", R"({"x": {"y": [1, "z"]}})"}, {"[]"});
  expect_takes(R"({"type": "object", "additionalProperties": false})", {"{}"}, {R"({"a":1})"});
}

TEST(JsonSchema, AdditionalPropertiesHaveOtherNames) {
  expect_takes(
      R"({"properties": {"ab": {"const": 1}, "a": {"const": 2}}, "additionalProperties": {"type": "string"}})",
      {"{}", R"({"ab":1,"a":2,"abc":"x"})", R"({"b":"x","":"y"})", R"({"a":2,"aa":"x"})"},
      {R"({"a":"x"})", R"({"ab":"x"})", R"({"abc":1})", R"({"\u0061":"x"})"});
  expect_takes(R"({"required": ["n"], "additionalProperties": {"type": "null"}})",
               {R"({"n":null})", R"({"n":null,"m":null})"}, {"{}", R"({"m":null})"});
}

TEST(JsonSchema, Branches) {
  expect_takes(R"({"anyOf": [{"type": "integer"}, {"type": "number"}, {"const": "x"}]})",
               {"1", "1.5", R"("x")"}, {R"("y")"});
  expect_takes(R"({"oneOf": [{"type": "integer"}, {"type": "string"}]})", {"1", R"("x")"}, {"1.5", "null"});
  expect_takes(R"({"oneOf": [
    {"properties": {"kind": {"const": "a"}, "x": {"type": "null"}}, "required": ["kind", "x"]},
    {"properties": {"kind": {"const": "b"}}, "required": ["kind"]}]})",
               {R"({"kind":"a","x":null})", R"({"kind":"b"})"}, {R"({"kind":"a"})", R"({"kind":"c"})"});
  expect_takes(R"({"allOf": [{"type": "null"}]})", {"null"}, {"1"});
}

TEST(JsonSchema, References) {
  const std::string tree = R"({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object",
    "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
    "required": ["value"]}}})";
  expect_takes(tree, {R"({"value":1})", R"({"value":1,"children":[{"value":2,"children":[]},{"value":3}]})"},
               {R"({"children":[]})", R"({"value":1,"children":[{}]})"});
  expect_takes(R"({"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#"}}]})",
               {"null", "[[null],[]]"}, {"[1]"});
}

TEST(JsonSchema, ErrorsNameTheKeyword) {
  const struct {
    const char *schema, *message;
    ErrorCode code;
  } cases[] = {
      {R"({"type": "string", "pattern": "a+"})", "schema: keyword pattern is not supported",
       ErrorCode::kUnsupported},
      {R"({"properties": {"a": {"minimum": 1}}})", "schema: properties: a: keyword minimum is not supported",
       ErrorCode::kUnsupported},
      {R"({"allOf": [{}, {}]})", "allOf of several schemas", ErrorCode::kUnsupported},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", "branches 0 and 1 of oneOf may both match",
       ErrorCode::kUnsupported},
      {R"({"anyOf": [{}], "type": "string"})", "keyword type beside anyOf", ErrorCode::kUnsupported},
      {R"({"$ref": "http://x/y"})", "$ref http://x/y is not within the schema", ErrorCode::kUnsupported},
      {R"({"$ref": "#/$defs/none"})", "$ref #/$defs/none is nowhere", ErrorCode::kFormat},
      {R"({"$ref": "#"})", "refers to nothing but itself", ErrorCode::kInvalidArgument},
      {R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})", "refers to nothing but itself",
       ErrorCode::kInvalidArgument},
      {R"({"type": "text"})", "there is no type \"text\"", ErrorCode::kFormat},
      {R"({"type": "string", "minLength": -1})", "minLength", ErrorCode::kFormat},
      {R"({"required": "a"})", "required is not a list", ErrorCode::kFormat},
      {R"("text")", "where an object is due", ErrorCode::kFormat},
      {"false", "no JSON text matches", ErrorCode::kInvalidArgument},
      {R"({"enum": []})", "no JSON text matches", ErrorCode::kInvalidArgument},
      {R"({"type": "string", "minLength": 3, "maxLength": 2})", "no JSON text matches",
       ErrorCode::kInvalidArgument},
      {R"({"properties": {"a": {"$ref": "#"}}, "required": ["a"]})", "no JSON text matches",
       ErrorCode::kInvalidArgument},
      {R"({"properties": {}, "required": ["a"]})", "no JSON text matches", ErrorCode::kInvalidArgument},
  };
  for (const auto& one : cases) {
    try {
      compile_json_schema(parse(one.schema), {}, "schema");
      ADD_FAILURE() << one.schema;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(one.message));
      EXPECT_EQ(error.code(), one.code) << one.schema;
    }
  }
}

TEST(JsonSchema, StopsWhatIsTooLarge) {
  json::array many;
  json::object properties;
  for (int i = 0; i < 20'000; ++i) many.emplace_back("value " + std::to_string(i));
  for (int i = 0; i < 1001; ++i) properties[std::to_string(i)] = true;
  std::string deep = "true";
  for (int i = 0; i < 45; ++i) deep = R"({"items": )" + deep + "}";
  const auto code = [](const json::value& schema) {
    try {
      compile_json_schema(schema, {}, "schema");
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code({{"enum", many}}), ErrorCode::kResourceExhausted);
  EXPECT_EQ(code({{"properties", properties}}), ErrorCode::kResourceExhausted);
  EXPECT_EQ(code(parse(deep)), ErrorCode::kInternal) << "not too deep";
}

}  // namespace
}  // namespace kvasir::grammar
