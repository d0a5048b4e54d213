// kvasir rerank: parity with cross-encoders through the command line, passages of files, what goes wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "json_helpers.h"
#include "process.h"

namespace kvasir::tests {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kModels = KVASIR_TEST_DATA "/rerankers/";

Outcome rerank(std::vector<std::string> args, const std::string& input = "",
               const std::string& model = "bert") {
  args.insert(args.begin(), "rerank");
  args.insert(args.end(), {"--model", kModels + model});
  return run({.args = args, .input = input});
}

void expect_near(const json::value& actual, const json::value& expected) {
  if (expected.is_array()) {
    ASSERT_EQ(actual.as_array().size(), expected.as_array().size());
    for (std::size_t i = 0; i < expected.as_array().size(); ++i) expect_near(actual.at(i), expected.at(i));
    return;
  }
  const double value = expected.to_number<double>();
  EXPECT_NEAR(actual.to_number<double>(), value, 1e-4 * std::max(1.0, std::abs(value)));
}

TEST(Rerank, LinesOfJsonEqualTheReference) {
  for (const std::string model : {"electra", "modernbert-mean", "roberta-nli"}) {
    const json::value file = base::parse_json_file(kModels + model + "/expected.json");
    std::string input;
    for (const json::value& pair : file.at("pairs").as_array()) {
      input += json::serialize(json::object{{"query", pair.at("query")}, {"text", pair.at("text")}}) + "\n";
    }
    const Outcome outcome = rerank({"--jsonl"}, input, model);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const std::vector<json::value> lines = json_lines(outcome.out);
    ASSERT_EQ(lines.size(), file.at("pairs").as_array().size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const json::value& pair = file.at("pairs").at(i);
      expect_near(lines[i].at("logits"), pair.at("logits"));
      expect_near(lines[i].at("score"), pair.at("score"));
    }
  }
}

TEST(Rerank, RanksPassages) {
  const TemporaryFolder folder;
  const std::string text = "First paragraph\nof two lines.\n\nSecond one.\n\n\nThe third.\n";
  const std::string file = folder.file("a.txt", text);
  const std::vector<json::value> passages = json_lines(rerank({"-q", "which?", "--json", file}).out);
  ASSERT_EQ(passages.size(), 3U);
  for (std::size_t i = 0; i < passages.size(); ++i) {
    const json::value& passage = passages[i];
    const auto start = passage.at("start").to_number<std::size_t>(),
               end = passage.at("end").to_number<std::size_t>();
    EXPECT_EQ(text.substr(start, end - start), passage.at("text").as_string());
    EXPECT_EQ(passage.at("file").as_string(), file);
    if (i > 0) {
      EXPECT_GE(passages[i - 1].at("score").to_number<double>(), passage.at("score").to_number<double>());
    }
  }
  EXPECT_EQ(json_lines(rerank({"-q", "which?", "--json", "--passages", "line", file}).out).size(), 4U);
  EXPECT_EQ(json_lines(rerank({"-q", "which?", "--json", "--passages", "file", file}).out).size(), 1U);
  EXPECT_EQ(json_lines(rerank({"-q", "which?", "--json", "-k", "2", file}).out).size(), 2U);
  EXPECT_EQ(json_lines(rerank({"-q", "which?", "--json"}, text).out).front().at("file"), "-");
  const Outcome shown = rerank({"-q", "which?", file});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.out, AllOf(HasSubstr(file + ":1\n"), HasSubstr(file + ":4\n"), HasSubstr(file + ":7\n"),
                               HasSubstr("          First paragraph of two lines.\n")));
}

TEST(Rerank, SaysWhatIsWrong) {
  EXPECT_THAT(rerank({}).err, HasSubstr("no query"));
  EXPECT_EQ(rerank({}).exit_code, 2);
  EXPECT_THAT(rerank({"-q", "x", "--jsonl"}).err, HasSubstr("give it without -q"));
  EXPECT_THAT(rerank({"-q", "x", "/nonexistent"}).err, HasSubstr("/nonexistent"));
  Outcome outcome = rerank({"--jsonl"}, "{\"query\":\"a\",\"text\":\"b\"}\n{\"query\":\"a\"");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(json_lines(outcome.out).size(), 1U);
  EXPECT_THAT(outcome.err, HasSubstr("standard input:2"));
  EXPECT_THAT(rerank({"--jsonl"}, "{\"query\":\"a\"}\n").err,
              HasSubstr("standard input:1: key text is missing"));
  EXPECT_THAT(rerank({"-q", "x"}, "text", "roberta-nli").err, HasSubstr("the model has 3 labels"));
  std::string text;
  for (int i = 0; i < 500; ++i) text += "word ";
  outcome = rerank({"--jsonl"}, json::serialize(json::object{{"query", "a"}, {"text", text}}) + "\n");
  EXPECT_THAT(outcome.err, HasSubstr("1 pair was longer than 128 tokens"));
  EXPECT_EQ(json_lines(outcome.out).front().at("tokens"), 128);
}

TEST(Rerank, RefusesOtherModels) {
  const auto error = [](const std::string& model) {
    const Outcome outcome = run({.args = {"rerank", "-q", "x", "--model", model}, .input = "text"});
    EXPECT_EQ(outcome.exit_code, 1);
    return outcome.err;
  };
  EXPECT_THAT(error(tiny_model()), HasSubstr("it is a question-answering reader"));
  EXPECT_THAT(error(KVASIR_TEST_DATA "/sentence-models/bert-mean-norm"), HasSubstr("it is a sentence model"));
  EXPECT_THAT(error(KVASIR_TEST_DATA "/decoders/llama-gqa"), HasSubstr("it is a language model"));
  const Outcome ask = run({.args = {"ask", "-q", "Who?", "--context", "I.", "--model", kModels + "electra"}});
  EXPECT_THAT(ask.err,
              HasSubstr("it is a cross-encoder (ElectraForSequenceClassification); kvasir rerank takes it"));
}

TEST(Rerank, OtherCommandsKnowCrossEncoders) {
  const TemporaryFolder folder;
  const std::string small = folder.path() + "/small";
  EXPECT_EQ(run({.args = {"quantize", kModels + "bert", small}}).exit_code, 0);
  const std::string pair = "{\"query\":\"a man\",\"text\":\"eats pasta\"}\n";
  const auto score = [&](const std::string& model) {
    return json_lines(run({.args = {"rerank", "--jsonl", "--model", model}, .input = pair}).out)
        .front()
        .at("score")
        .to_number<double>();
  };
  EXPECT_NEAR(score(small), score(kModels + "bert"), 0.2);
  EXPECT_NE(score(small), score(kModels + "bert"));
  EXPECT_THAT(run({.args = {"show", kModels + "roberta-nli"}}).out,
              AllOf(HasSubstr("kind          a classifier\n"), HasSubstr("command       kvasir rerank\n")));
  const std::string ids = folder.file("ids.json", R"({"sequences":[{"input_ids":[2,5,7,3]}]})");
  const std::string out = folder.path() + "/out.safetensors";
  EXPECT_EQ(
      run({.args = {"logits", "--ids", ids, "--out", out, "--model", kModels + "roberta-nli"}}).exit_code, 0);
  EXPECT_EQ(formats::SafetensorsFile(out).tensors().at("logits.0").shape, tensor::Shape{3});
}

}  // namespace
}  // namespace kvasir::tests
