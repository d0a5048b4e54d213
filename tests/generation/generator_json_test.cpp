// Texts of language models that keep to a JSON schema: random models, which would write anything else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/cpu.h"
#include "decoder_fixture.h"
#include "json_schema_validator.h"
#include "kvasir/generator.h"
#include "temporary_folder.h"
#include "test_isa.h"

namespace kvasir {
namespace {

using testing::HasSubstr;
using tests::SchemaValidator;

Generator load(const std::string& name, GeneratorOptions options = {}) {
  options.isa = base::isa_name(tests::test_isa());
  options.threads = 2;
  return Generator::load(tests::decoder_folder(name), options);
}

const std::string kSchema = R"({
  "type": "object",
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 6},
    "kind": {"enum": ["ship", "light house", null]},
    "years": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
    "sunk": {"type": "boolean"}
  },
  "required": ["name", "kind", "years", "sunk"]
})";

void expect_keeps(const std::string& schema, const GeneratedSequence& sequence) {
  EXPECT_EQ(sequence.finish_reason, "stop") << sequence.text;
  base::json::value value;
  ASSERT_NO_THROW(value = base::parse_json(sequence.text, "output")) << sequence.text;
  EXPECT_TRUE(SchemaValidator(base::parse_json(schema, "schema")).valid(value)) << sequence.text;
}

class GeneratorJson : public testing::TestWithParam<std::string> {};

TEST_P(GeneratorJson, GreedyTextsKeepToTheSchema) {
  const Generator generator = load(GetParam());
  std::size_t tried = 0;
  for (const tests::DecoderPrompt& prompt : tests::load_prompts(GetParam())) {
    if (prompt.input_ids.size() > 100) continue;  // 150 tokens of JSON have to fit into the context
    ++tried;
    std::string streamed;
    GenerateOptions options{.max_new_tokens = 150,
                            .json_schema = kSchema,
                            .on_text = [&](std::string_view piece) { streamed += piece; }};
    const GeneratedSequence plain = generator.generate(prompt.input_ids, options).sequences.at(0);
    expect_keeps(kSchema, plain);
    EXPECT_EQ(streamed, plain.text);
    options.on_text = nullptr;
    options.prompt_lookup_num_tokens = 6;
    EXPECT_EQ(generator.generate(prompt.input_ids, options).sequences.at(0).ids, plain.ids);
  }
  EXPECT_GT(tried, 0U);
}

TEST_P(GeneratorJson, DrawnTextsKeepToTheSchema) {
  const Generator generator = load(GetParam());
  const GenerateResult result = generator.generate("The ship", {.max_new_tokens = 150,
                                                                .temperature = 1.5F,
                                                                .seed = 3,
                                                                .json_schema = kSchema,
                                                                .num_return_sequences = 8});
  std::set<std::string> texts;
  for (const GeneratedSequence& sequence : result.sequences) {
    expect_keeps(kSchema, sequence);
    texts.insert(sequence.text);
  }
  EXPECT_GT(texts.size(), 4U);
}

TEST_P(GeneratorJson, BeamsKeepToTheSchema) {
  const Generator generator = load(GetParam());
  const GenerateResult result = generator.generate(
      "The ship", {.max_new_tokens = 150, .json_schema = kSchema, .num_beams = 3, .num_return_sequences = 3});
  ASSERT_EQ(result.sequences.size(), 3U);
  std::set<std::vector<std::int32_t>> different;
  for (const GeneratedSequence& sequence : result.sequences) {
    expect_keeps(kSchema, sequence);
    different.insert(sequence.ids);
    double sum = 0;
    for (const float logprob : sequence.logprobs) sum += static_cast<double>(logprob);
    EXPECT_NEAR(sequence.score, sum / static_cast<double>(sequence.ids.size()), 1e-4);
  }
  EXPECT_EQ(different.size(), 3U);
}

// Also by tokenizers that take spaces before punctuation away when they make text of tokens.
TEST_P(GeneratorJson, TextIsVerbatim) {
  const Generator generator = load(GetParam());
  const std::string schema = R"({"const": "don 't , he said . \u65e5  z\u00fcrich"})";
  const GeneratedSequence sequence =
      generator.generate("Say:", {.max_new_tokens = 150, .json_schema = schema}).sequences.at(0);
  expect_keeps(schema, sequence);
}

INSTANTIATE_TEST_SUITE_P(Families, GeneratorJson,
                         testing::Values("llama-gqa", "falcon-7b-style", "bloom", "mpt"),
                         [](const auto& model) {
                           std::string name = model.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(GeneratorJsonEnds, UnfinishedJsonIsToldByItsFinishReason) {
  const Generator generator = load("llama-gqa");
  for (const std::size_t beams : {1U, 2U}) {
    const GeneratedSequence sequence =
        generator
            .generate("Say:",
                      {.max_new_tokens = 5, .json_schema = R"({"minLength": 50})", .num_beams = beams})
            .sequences.at(0);
    EXPECT_EQ(sequence.finish_reason, "length");
    EXPECT_EQ(sequence.ids.size(), 5U);
    EXPECT_THAT(sequence.text, HasSubstr("\""));
    EXPECT_THROW(base::parse_json(sequence.text, "output"), Error) << sequence.text;
  }
}

// Where the JSON may go on, the model's end ends it; where it may not, nothing has to be run for that.
TEST(GeneratorJsonEnds, WithAnEndOrWithout) {
  const Generator generator = load("llama-gqa");
  const GenerateOptions options{.max_new_tokens = 60, .json_schema = R"({"const": [1, 2]})"};
  const GeneratedSequence closed = generator.generate("Say:", options).sequences.at(0);
  expect_keeps(options.json_schema, closed);
  EXPECT_NE(closed.ids.back(), 2);
  GenerateOptions number{.max_new_tokens = 60, .json_schema = R"({"type": "integer"})"};
  number.logit_bias[2] = 1000;  // </s>
  const GeneratedSequence open = generator.generate("Say:", number).sequences.at(0);
  expect_keeps(number.json_schema, open);
  EXPECT_EQ(open.ids.back(), 2);
}

// Stop strings of a chat template are for text that has no end of its own.
TEST(GeneratorJsonEnds, ChatsKeepToTheSchema) {
  const Generator generator = load("llama-gqa", {.chat_template = "falcon-instruct"});
  const std::string schema = R"({"const": {"a": ["\nUser", "User:", "###"]}})";
  const GeneratedSequence sequence =
      generator.chat({{.role = "user", .content = "Hi"}}, {.max_new_tokens = 100, .json_schema = schema})
          .sequences.at(0);
  expect_keeps(schema, sequence);
}

TEST(GeneratorJsonErrors, SayWhatIsWrongAndWhere) {
  const Generator generator = load("llama-gqa");
  struct Fault {
    GenerateOptions options;
    ErrorCode code;
    const char* message;
  };
  for (const Fault& fault : {
           Fault{{.json_schema = "{"}, ErrorCode::kFormat, "json_schema:1"},
           Fault{{.json_schema = "[1]"}, ErrorCode::kFormat, "json_schema"},
           Fault{{.json_schema = R"({"type": "text"})"},
                 ErrorCode::kFormat,
                 "json_schema: there is no type \"text\""},
           Fault{{.json_schema = R"({"properties": {"a": {"pattern": "x"}}})"},
                 ErrorCode::kUnsupported,
                 "json_schema: properties: a: keyword pattern is not supported"},
           Fault{{.json_schema = R"({"$ref": "#/$defs/x"})"},
                 ErrorCode::kFormat,
                 "$ref #/$defs/x is nowhere in the schema"},
           Fault{{.json_schema = "false"}, ErrorCode::kInvalidArgument, "no JSON text matches the schema"},
           Fault{{.stop = {"}"}, .json_schema = "true"}, ErrorCode::kInvalidArgument, "without stop"},
           Fault{{.ignore_eos = true, .json_schema = "true"},
                 ErrorCode::kInvalidArgument,
                 "without ignore_eos"},
       }) {
    try {
      generator.generate("Say:", fault.options);
      ADD_FAILURE() << "accepted: " << fault.options.json_schema;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), fault.code) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(fault.message));
    }
  }
  // And bias cannot forbid what the schema asks for without being told.
  GenerateOptions impossible{.json_schema = R"({"const": null})"};
  for (std::int32_t id = 0; id < static_cast<std::int32_t>(generator.vocab_size()); ++id)
    impossible.logit_bias[id] = -INFINITY;
  for (const std::size_t beams : {1U, 2U}) {
    impossible.num_beams = beams;
    EXPECT_THROW(generator.generate("Say:", impossible), Error);
  }
}

}  // namespace
}  // namespace kvasir
