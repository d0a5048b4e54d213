// kvasir generate, and kvasir logits of language models: the golden continuations, through the program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "hub_server.h"
#include "json_helpers.h"
#include "process.h"

namespace kvasir::tests {
namespace {

using testing::HasSubstr;

std::string decoder(const std::string& name) {
  return std::string(KVASIR_TEST_DATA) + "/decoders/" + name;
}

Outcome generate(std::vector<std::string> args, const std::string& input = {}) {
  args.insert(args.begin(), "generate");
  return run({.args = std::move(args), .input = input});
}

class GenerateParity : public testing::TestWithParam<const char*> {};

TEST_P(GenerateParity, GreedyTextsOfAllPrompts) {
  const json::value expected = fixture(std::string("decoders/") + GetParam() + "/expected.json");
  std::vector<std::string> args = {"-m", decoder(GetParam()), "--json", "--max-new-tokens", "24"};
  for (const json::value& prompt : expected.at("prompts").as_array()) {
    args.insert(args.end(), {"-p", std::string(prompt.at("text").as_string())});
  }
  const Outcome outcome = generate(args);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  std::size_t begin = 0;
  for (const json::value& prompt : expected.at("prompts").as_array()) {
    const std::size_t end = outcome.out.find('\n', begin);
    const json::value line = json::parse(outcome.out.substr(begin, end - begin));
    begin = end + 1;
    EXPECT_EQ(line.at("ids"), prompt.at("greedy_ids"));
    EXPECT_EQ(line.at("prompt_ids"), prompt.at("input_ids"));
    EXPECT_EQ(line.at("text"), prompt.at("greedy_text"));
    EXPECT_EQ(line.at("finish_reason"), "length");
    const json::array& logprobs = prompt.at("greedy_logprobs").as_array();
    ASSERT_EQ(line.at("logprobs").as_array().size(), logprobs.size());
    for (std::size_t i = 0; i < logprobs.size(); ++i) {
      EXPECT_NEAR(line.at("logprobs").at(i).as_double(), logprobs[i].to_number<double>(), 1e-3);
    }
  }
  EXPECT_EQ(begin, outcome.out.size());
}

TEST_P(GenerateParity, LogitsOfAllPositions) {
  const json::value expected = fixture(std::string("decoders/") + GetParam() + "/expected.json");
  const formats::SafetensorsFile golden(decoder(GetParam()) + "/expected_logits.safetensors");
  json::array sequences;
  for (const json::value& prompt : expected.at("prompts").as_array()) {
    sequences.push_back(json::object{{"input_ids", prompt.at("input_ids")}});
  }
  const TemporaryFolder folder;
  const std::string ids = folder.file("ids.json", json::serialize(json::object{{"sequences", sequences}}));
  const std::string out = folder.path() + "/logits.safetensors";
  const Outcome outcome =
      run({.args = {"logits", "--model", decoder(GetParam()), "--ids", ids, "--out", out}});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const formats::SafetensorsFile file(out);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const std::string id(expected.at("prompts").at(i).at("id").as_string());
    const tensor::TensorView& want = golden.tensors().at(id + ".logits");
    const tensor::TensorView& got = file.tensors().at("logits." + std::to_string(i));
    ASSERT_EQ(got.shape[0], static_cast<std::int64_t>(sequences[i].at("input_ids").as_array().size()));
    ASSERT_EQ(got.shape[1], want.shape[1]);
    std::vector<float> a(want.elements()), b(want.elements());
    want.read_floats(0, a);
    got.read_floats(got.elements() - b.size(), b);
    float largest = 0;
    for (const float x : a) largest = std::max(largest, std::abs(x));
    for (std::size_t j = 0; j < a.size(); ++j) ASSERT_NEAR(a[j], b[j], 1e-4F * largest) << id << " " << j;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GenerateParity,
                         testing::Values("llama-gqa", "falcon-7b-style", "bloom", "mpt"));

TEST(Generate, BeamsAreAList) {
  const json::value expected = fixture("decoders/llama-gqa/expected.json").at("prompts").at(0);
  const Outcome outcome =
      generate({"-m", decoder("llama-gqa"), "-p", std::string(expected.at("text").as_string()), "--json",
                "--max-new-tokens", "16", "--num-beams", "4", "--num-return-sequences", "4"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json::array list = json::parse(outcome.out).as_array();
  ASSERT_EQ(list.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    const json::value& beam = expected.at("beam4").at("sequences").at(i);
    EXPECT_EQ(list[i].at("ids"), beam.at("ids"));
    EXPECT_NEAR(list[i].at("score").as_double(), beam.at("score").to_number<double>(), 1e-3);
  }
}

TEST(Generate, TextForPeopleIsTheTextAndALineBreak) {
  const json::value expected = fixture("decoders/mpt/expected.json").at("prompts").at(0);
  const std::string text(expected.at("greedy_text").as_string());
  const Outcome outcome =
      generate({"-m", decoder("mpt"), "-n", "24"}, std::string(expected.at("text").as_string()));
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.out, text + "\n");
  EXPECT_EQ(outcome.err, "");
}

TEST(Generate, JsonKeepsToASchema) {
  const std::string model = decoder("llama-gqa"), schema = R"({"properties": {"city": {"enum": ["Lund"]},
      "year": {"type": ["integer", "null"]}}, "required": ["city", "year"]})";
  const TemporaryFolder folder;
  const auto city_of = [](const std::string& text) { return json::parse(text).at("city"); };
  for (const std::string& given : {folder.file("schema.json", schema), schema}) {
    const Outcome outcome = generate({"-m", model, "-p", "x", "--json-schema", given});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    EXPECT_EQ(city_of(outcome.out), "Lund");
  }
  const Outcome piped = generate({"-m", model, "-p", "x", "--json-schema", "-", "--num-beams", "2"}, schema);
  ASSERT_EQ(piped.exit_code, 0) << piped.err;
  EXPECT_EQ(city_of(piped.out), "Lund");
  const Outcome lines = generate({"-m", model, "-p", "x", "-p", "y", "--json", "--json-schema", schema});
  const json::value line = json::parse(lines.out.substr(0, lines.out.find('\n')));
  EXPECT_EQ(line.at("finish_reason"), "stop");
  EXPECT_EQ(city_of(std::string(line.at("text").as_string())), "Lund");
  EXPECT_EQ(std::ranges::count(lines.out, '\n'), 2);
}

TEST(Generate, UnfinishedJsonIsAnError) {
  const std::vector<std::string> args = {
      "-m", decoder("llama-gqa"), "-p", "x", "-n", "3", "--json-schema", "{\"minLength\": 9}"};
  const Outcome plain = generate(args);
  EXPECT_EQ(plain.exit_code, 1);
  EXPECT_THAT(plain.out, HasSubstr("\""));
  EXPECT_THAT(plain.err, HasSubstr("the text ends before its JSON does: --max-new-tokens 3 is too few"));
  std::vector<std::string> as_json = args;
  as_json.emplace_back("--json");
  const Outcome told = generate(as_json);
  EXPECT_EQ(told.exit_code, 0) << told.err;
  EXPECT_EQ(json::parse(told.out).at("finish_reason"), "length");
}

TEST(Generate, GoesBeyondTheContextWhenAsked) {
  std::string prompt;
  for (int i = 0; i < 600; ++i) prompt += "word ";
  const std::string model = decoder("llama-gqa");  // a context of 256
  const Outcome refused = generate({"-m", model, "-p", prompt});
  EXPECT_EQ(refused.exit_code, 1);
  const Outcome cut = generate({"-m", model, "-p", prompt, "--json", "-n", "300", "--truncate"});
  ASSERT_EQ(cut.exit_code, 0) << cut.err;
  EXPECT_EQ(json::parse(cut.out).at("prompt_ids").as_array().size(), 128U);
  EXPECT_EQ(json::parse(cut.out).at("prompt_ids").at(0), 1);
  EXPECT_EQ(json::parse(cut.out).at("ids").as_array().size(), 128U);
  const Outcome shifted = generate({"-m", model, "-p", prompt, "--json", "-n", "300", "--ignore-eos",
                                    "--context-shift", "--context-keep", "16"});
  ASSERT_EQ(shifted.exit_code, 0) << shifted.err;
  EXPECT_EQ(json::parse(shifted.out).at("prompt_ids").as_array().size(), 136U);
  EXPECT_EQ(json::parse(shifted.out).at("ids").as_array().size(), 300U);
}

TEST(Generate, WhatServersDoWrongIsSaidInOneLine) {
  const std::string half = "data: {\"choices\":[{\"text\":\"Half\"}]}\n\n";
  struct Fault {
    HubReply reply;
    const char* message;
    const char* out = "";
  };
  for (const Fault& fault :
       {Fault{{.status = 404, .body = "{\"detail\":\"no such\\nmodel\"}"},
              "the server answered 404: no such model"},
        Fault{{.body = "<html>\nhi</html>"},
              "the answer is neither a stream of events nor JSON: <html> hi</html>"},
        Fault{
            {.body = half + "data: {oops\n\n"}, "an event of the answer is no JSON object: {oops", "Half\n"},
        Fault{{.body = half}, "the answer was cut off: the answer ended in its middle", "Half\n"}}) {
    HubServer server;
    server.change = [&](const HubRequest&, HubReply& reply) { reply = fault.reply; };
    const std::string name = "openai" + server.endpoint().substr(4) + "/small";
    const Outcome outcome = generate({"-m", name, "-p", "x"});
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_EQ(outcome.err, "kvasir: " + server.endpoint() + "/v1/completions: " + fault.message + "\n");
    EXPECT_EQ(outcome.out, fault.out);
  }
}

// Where nothing was said, a model that has a token for the beginning of a text begins with it.
TEST(Generate, AnEmptyPromptIsTheBeginningOfAText) {
  const Outcome outcome = generate({"-m", decoder("llama-gqa"), "-p", "", "-n", "4", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(json::parse(outcome.out).at("prompt_ids"), json::parse("[1]"));
  EXPECT_EQ(json::parse(outcome.out).at("ids").as_array().size(), 4U);
  const Outcome bare = generate({"-m", decoder("llama-gqa"), "-p", "", "--no-special-tokens"});
  EXPECT_EQ(bare.exit_code, 1);
  EXPECT_THAT(bare.err, HasSubstr("the prompt is empty"));
}

TEST(Generate, WhatIsWrongIsSaidInOneLine) {
  struct Fault {
    std::vector<std::string> args;
    int exit_code;
    std::string message;
  };
  const TemporaryFolder folder;
  const std::string schema = folder.file("s.json", R"({"properties": {"a": {"pattern": "x"}}})");
  const std::string model = decoder("llama-gqa");
  std::string long_prompt;
  for (int i = 0; i < 600; ++i) long_prompt += "word ";
  for (const Fault& fault : {
           Fault{{"-p", "x"}, 2, "no language model; name one with --model"},
           Fault{{"-m", tiny_model(), "-p", "x"}, 1, "model_type bert is no language model"},
           Fault{{"-m", "/nowhere", "-p", "x"}, 1, "/nowhere"},
           Fault{{"-m", model, "-p", "x", "--top-p", "3"}, 1, "top_p"},
           Fault{{"-m", model, "-p", "x", "--max-new-tokens", "0"}, 1, "max_new_tokens"},
           Fault{{"-m", model, "-p", "x", "--max-new-tokens", "-3"}, 2, "--max-new-tokens"},
           Fault{{"-m", model, "-p", "x", "--logit-bias", "5"}, 2, "should be ID=BIAS"},
           Fault{{"-m", model, "-p", "x", "--stop", ""}, 2, "--stop is given an empty text"},
           Fault{{"-m", model, "-p", "x", "--early-stopping", "soon"}, 2, "--early-stopping"},
           Fault{{"-m", model, "-p", "x", "--num-beams", "2", "--temperature", "1"}, 1, "num_beams"},
           Fault{{"-m", model, "-p", long_prompt}, 1, "the model's context holds 256"},
           Fault{{"-m", model, "-p", "\xFF"}, 1, "UTF-8"},
           Fault{{"-m", decoder("mpt"), "-p", ""}, 1, "the prompt is empty"},
           Fault{{"-m", model, "-p", "x", "--context-keep", "3"}, 1, "context_keep goes with context_shift"},
           Fault{{"-m", model, "-p", "x", "--json-schema", "/nowhere.json"}, 1, "/nowhere.json"},
           Fault{{"-m", model, "-p", "x", "--json-schema", ""}, 2, "--json-schema is given an empty text"},
           Fault{{"-m", model, "-p", "x", "--json-schema", "{\"type\":"}, 1, "--json-schema:1"},
           Fault{{"-m", model, "-p", "x", "--json-schema", schema},
                 1,
                 schema + ": properties: a: keyword pattern"},
           Fault{{"-m", model, "--json-schema", "-"}, 2, "standard input is read for something else"},
           Fault{{"-m", model, "-p", "x", "--json-schema", "{}", "--stop", "x"},
                 1,
                 "json_schema goes without stop"},
       }) {
    const Outcome outcome = run({.args =
                                     [&] {
                                       std::vector<std::string> args = fault.args;
                                       args.insert(args.begin(), "generate");
                                       return args;
                                     }(),
                                 .env = {"KVASIR_MODEL"}});
    EXPECT_EQ(outcome.exit_code, fault.exit_code) << fault.message << ": " << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(fault.message));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
}

}  // namespace
}  // namespace kvasir::tests
