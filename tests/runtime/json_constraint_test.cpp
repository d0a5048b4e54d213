// Outputs that keep to a schema: what the grammar takes and refuses, and that random choices of what it
// allows always end in valid JSON.
#include "runtime/json_constraint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "json_schema_validator.h"
#include "kvasir/error.h"
#include "runtime/sampler.h"

namespace kvasir::tests {
namespace {

namespace json = base::json;
using runtime::JsonConstraint;
using runtime::TokenVocabulary;
using ::testing::HasSubstr;

constexpr std::int32_t kEos = 2;

json::value parse(const std::string& text) {
  return base::parse_json(text, "schema");
}

bool takes(const runtime::JsonGrammar& grammar, std::string_view text) {
  runtime::ByteMatcher matcher(grammar.grammar, grammar.root);
  runtime::StateId state = matcher.start();
  for (const char byte : text) state = matcher.next(state, static_cast<std::uint8_t>(byte));
  return matcher.complete(state);
}

void expect_takes(const std::string& schema, const std::vector<std::string>& good,
                  const std::vector<std::string>& bad) {
  const auto grammar = runtime::compile_json_schema(parse(schema), {}, "schema");
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
      runtime::compile_json_schema(parse(one.schema), {}, "schema");
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
      runtime::compile_json_schema(schema, {}, "schema");
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code({{"enum", many}}), ErrorCode::kResourceExhausted);
  EXPECT_EQ(code({{"properties", properties}}), ErrorCode::kResourceExhausted);
  EXPECT_EQ(code(parse(deep)), ErrorCode::kInternal) << "not too deep";
}

// ---- with vocabularies ----

std::shared_ptr<const TokenVocabulary> vocabulary_of(const std::string& name) {
  const auto folder = std::filesystem::path(KVASIR_TEST_DATA) / "tokenizers" / name;
  const auto expected = base::parse_json_file(folder / "expected.json");
  const auto* other = expected.as_object().if_contains("tokenizer_dir");
  const auto tokenizer =
      text::Tokenizer::load(other != nullptr ? folder / std::string(other->as_string()) : folder);
  return std::make_shared<const TokenVocabulary>(tokenizer);
}

// All single bytes from id 3 on, and pieces of JSON.
std::shared_ptr<const TokenVocabulary> small_vocabulary(int last_byte) {
  std::vector<std::string> tokens = {"", "", ""};
  for (int byte = 0; byte <= last_byte; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  for (const char* piece : {"{\"",      "\": ",  "\",",    ", \"",  "\"}", "\"]",  "}}",  "[[",     "]]",
                            "\"a\": 1", "true",  "false,", "null}", "12",  "-1.5", "  ",  "\n  ",   "\":",
                            "abc",      "\\u00", "kind",   "\\\"",  "]}",  "\"a",  "b\"", "x\": \""}) {
    tokens.emplace_back(piece);
  }
  return std::make_shared<const TokenVocabulary>(tokens);
}

class RandomSchema {
 public:
  explicit RandomSchema(unsigned seed) : random_(seed) {}

  json::value make(int depth) {
    const unsigned kinds = depth > 0 ? 12 : 6;
    switch (random_() % kinds) {
      case 0:
        return {{"type", "string"}, {"minLength", below(3)}, {"maxLength", 3 + below(3)}};
      case 1:
        return {{"type", "integer"}};
      case 2:
        return {{"type", json::array{"number", "null"}}};
      case 3:
        return {{"enum", json::array{"red", 5, nullptr, "\u00E9\"\\", json::object{{"a", 1}}}}};
      case 4:
        return {{"type", "boolean"}};
      case 5:
        return {{"const", "abc"}};
      case 6:
        return {{"type", "array"},
                {"items", make(depth - 1)},
                {"minItems", below(2)},
                {"maxItems", 1 + below(3)}};
      case 7:
        return {{"anyOf", json::array{make(depth - 1), make(depth - 1)}}};
      case 8:
        return {{"oneOf", json::array{json::object{{"type", "null"}}, json::object{{"type", "array"}},
                                      json::object{{"type", "string"}}}}};
      case 9:
        return {{"$ref", "#/$defs/list"}};
      default:
        return make_object(depth);
    }
  }
  json::value make_root() {
    json::object root = make_object(3).as_object();
    root["$defs"] = {{"list",
                      {{"anyOf", json::array{json::object{{"type", "null"}},
                                             json::object{{"type", "array"},
                                                          {"items", {{"$ref", "#/$defs/list"}}},
                                                          {"maxItems", 2}}}}}}};
    return root;
  }

 private:
  json::value make_object(int depth) {
    json::object properties;
    json::array required;
    for (const char* name : {"a", "ab", "kind", "x y", "\u00E9\""}) {
      if (random_() % 2 == 0) continue;
      properties[name] = make(depth - 1);
      if (random_() % 2 == 0) required.emplace_back(name);
    }
    json::object out{{"type", "object"}, {"properties", properties}, {"required", required}};
    if (random_() % 3 == 0) out["additionalProperties"] = make(0);
    return out;
  }
  int below(unsigned end) { return static_cast<int>(random_() % end); }

  std::mt19937 random_;
};

// Chooses among what is allowed: anything at first, and then what leads to an end.
std::string random_output(JsonConstraint& constraint, const TokenVocabulary& vocabulary,
                          std::mt19937& random) {
  std::string out;
  for (int step = 0; step < 3000; ++step) {
    std::vector<float> logits(vocabulary.size(), 0);
    constraint.mask(logits);
    std::vector<std::int32_t> allowed;
    for (std::size_t id = 0; id < logits.size(); ++id) {
      const bool may = logits[id] == 0;
      const auto signed_id = static_cast<std::int32_t>(id);
      if (may != constraint.allows(signed_id)) {
        ADD_FAILURE() << "mask and allows differ on " << id << " after " << out;
        return out;
      }
      if (may) allowed.push_back(signed_id);
    }
    if (allowed.empty()) {
      ADD_FAILURE() << "a dead end after " << out;
      return out;
    }
    EXPECT_EQ(constraint.allows(kEos), constraint.is_complete());
    EXPECT_EQ(constraint.must_end(), allowed == std::vector<std::int32_t>{kEos});
    std::int32_t chosen = allowed[random() % allowed.size()];
    if (step > 30) {
      for (const std::string_view wanted : {"0", "]", "}", "\""}) {
        const auto found = std::find_if(allowed.begin(), allowed.end(),
                                        [&](std::int32_t id) { return vocabulary.bytes(id) == wanted; });
        if (found != allowed.end()) chosen = *found;
      }
      if (constraint.is_complete()) chosen = kEos;
    }
    if (chosen == kEos) return out;
    constraint.accept(chosen);
    out += vocabulary.bytes(chosen);
  }
  ADD_FAILURE() << "does not end: " << out;
  return out;
}

void expect_valid_outputs(const std::shared_ptr<const TokenVocabulary>& vocabulary, unsigned schemas) {
  std::mt19937 random(17);
  std::size_t longest = 0;
  for (unsigned seed = 0; seed < schemas; ++seed) {
    const json::value schema = RandomSchema(seed).make_root();
    SCOPED_TRACE(json::serialize(schema));
    const auto grammar = runtime::compile_for(*vocabulary, schema, "schema");
    for (int trial = 0; trial < 4; ++trial) {
      JsonConstraint constraint(grammar, vocabulary, {kEos});
      const std::string text = random_output(constraint, *vocabulary, random);
      longest = std::max(longest, text.size());
      json::value value;
      ASSERT_NO_THROW(value = base::parse_json(text, "output")) << text;
      EXPECT_TRUE(SchemaValidator(schema).valid(value)) << text;
      if (::testing::Test::HasFailure()) return;
    }
  }
  EXPECT_GT(longest, 60u);
}

TEST(JsonConstraint, RandomOutputsAreValid) {
  expect_valid_outputs(small_vocabulary(0xFF), 150);
}
TEST(JsonConstraint, RandomOutputsOfAsciiVocabulariesAreValid) {
  expect_valid_outputs(small_vocabulary(0x7E), 100);
}
TEST(JsonConstraint, RandomOutputsOfTokenizersAreValid) {
  for (const char* name : {"llama", "falcon", "bloom", "mpt"}) {
    SCOPED_TRACE(name);
    expect_valid_outputs(vocabulary_of(name), 20);
  }
}

// What a tokenizer makes of a valid text is allowed token by token.
TEST(JsonConstraint, AllowsWhatTokenizersWrite) {
  const std::string schema =
      R"({"properties": {"city": {"type": "string"}, "year": {"type": "integer"}}, "required": ["city"]})";
  const std::string text = "{\"city\": \"Z\u00FCrich \U0001F600\", \"year\": 1810}";
  for (const std::string name : {"llama", "falcon", "bloom", "mpt"}) {
    SCOPED_TRACE(name);
    const auto folder = std::filesystem::path(KVASIR_TEST_DATA) / "tokenizers" / name;
    const auto tokenizer = text::Tokenizer::load(folder);
    const auto vocabulary = std::make_shared<const TokenVocabulary>(tokenizer);
    JsonConstraint constraint(runtime::compile_for(*vocabulary, parse(schema), "schema"), vocabulary, {kEos});
    for (const std::int32_t id : tokenizer.encode(text, {.add_special_tokens = false}).ids) {
      EXPECT_FALSE(constraint.is_complete());
      ASSERT_TRUE(constraint.allows(id)) << tokenizer.token(id);
      constraint.accept(id);
    }
    EXPECT_TRUE(constraint.is_complete());
    EXPECT_TRUE(constraint.must_end());
  }
}

TEST(JsonConstraint, WorksWithTheSampler) {
  const auto vocabulary = small_vocabulary(0xFF);
  const json::value schema = parse(R"({"properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]})");
  JsonConstraint constraint(runtime::compile_for(*vocabulary, schema, "schema"), vocabulary, {kEos});
  runtime::Sampler sampler({.do_sample = true, .seed = 3}, {});
  std::string out;
  for (int i = 0; i < 100; ++i) {
    std::vector<float> logits(vocabulary->size() + 5, 0);  // models have more logits than there are tokens
    const auto token = sampler.sample(logits, &constraint);
    ASSERT_TRUE(constraint.allows(token.id));
    if (token.id == kEos) break;
    constraint.accept(token.id);
    sampler.accept(token.id);
    out += vocabulary->bytes(token.id);
  }
  EXPECT_TRUE(constraint.is_complete());
  EXPECT_TRUE(SchemaValidator(schema).valid(base::parse_json(out, "output"))) << out;
}

// Also after so many tokens that what was met has been forgotten, each place in this string being one.
TEST(JsonConstraint, StartsAgain) {
  const auto vocabulary = small_vocabulary(0xFF);
  const json::value schema = parse(R"({"type": "string", "maxLength": 100000})");
  JsonConstraint constraint(runtime::compile_for(*vocabulary, schema, "schema"), vocabulary, {kEos});
  const auto id_of = [&](std::string_view bytes) {
    for (std::size_t id = 0; id < vocabulary->size(); ++id) {
      if (vocabulary->bytes(static_cast<std::int32_t>(id)) == bytes) return static_cast<std::int32_t>(id);
    }
    return std::int32_t{-1};
  };
  const std::int32_t quote = id_of("\""), letter = id_of("a");
  for (const int letters : {3, 6000, 5}) {
    EXPECT_TRUE(constraint.allows(quote));
    EXPECT_FALSE(constraint.allows(letter));
    constraint.accept(quote);
    for (int i = 0; i < letters; ++i) constraint.accept(letter);
    EXPECT_FALSE(constraint.is_complete());
    JsonConstraint copy = constraint;
    copy.accept(quote);
    EXPECT_TRUE(copy.must_end());
    EXPECT_TRUE(constraint.allows(letter));
    constraint.restart();
  }
}

TEST(JsonConstraint, RefusesVocabulariesWithoutCharacters) {
  EXPECT_THROW(
      runtime::compile_for(TokenVocabulary(std::vector<std::string>{"a", "b"}), parse("true"), "schema"),
      Error);
}

}  // namespace
}  // namespace kvasir::tests
