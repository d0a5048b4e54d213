// Outputs that keep to a schema: random choices of what it allows always end in valid JSON.
#include "generation/json_constraint.h"

#include <gtest/gtest.h>

#include <random>

#include "generation/sampler.h"
#include "json_schema_validator.h"
#include "kvasir/error.h"

namespace kvasir::tests {
namespace {

namespace json = base::json;
using generation::JsonConstraint;
using generation::TokenVocabulary;

constexpr std::int32_t kEos = 2;

json::value parse(const std::string& text) {
  return base::parse_json(text, "schema");
}

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
    const auto grammar = generation::compile_for(*vocabulary, schema, "schema");
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
    JsonConstraint constraint(generation::compile_for(*vocabulary, parse(schema), "schema"), vocabulary,
                              {kEos});
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
  JsonConstraint constraint(generation::compile_for(*vocabulary, schema, "schema"), vocabulary, {kEos});
  generation::Sampler sampler({.do_sample = true, .seed = 3}, {});
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
  JsonConstraint constraint(generation::compile_for(*vocabulary, schema, "schema"), vocabulary, {kEos});
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
      generation::compile_for(TokenVocabulary(std::vector<std::string>{"a", "b"}), parse("true"), "schema"),
      Error);
}

}  // namespace
}  // namespace kvasir::tests
