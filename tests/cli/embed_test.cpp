// kvasir embed: parity with sentence-transformers through the command line, files of vectors, what goes
// wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "json_helpers.h"
#include "process.h"

namespace kvasir::tests {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const std::string kModels = KVASIR_TEST_DATA "/sentence-models/";

Outcome embed(std::vector<std::string> args, const std::string& input = "",
              const std::string& model = "xlmr-mean-norm-prompts") {
  args.insert(args.begin(), "embed");
  args.insert(args.end(), {"--model", kModels + model});
  return run({.args = args, .input = input});
}

std::vector<float> floats(const json::value& list) {
  std::vector<float> values;
  for (const json::value& value : list.as_array()) values.push_back(value.to_number<float>());
  return values;
}

std::vector<float> golden(const std::string& model, const std::string& name) {
  const formats::SafetensorsFile file(kModels + model + "/expected.safetensors");
  const tensor::TensorView& view = file.tensors().at(name);
  std::vector<float> values(view.elements());
  view.read_floats(0, values);
  return values;
}

TEST(Embed, LinesOfJsonEqualTheReference) {
  for (const std::string model : {"xlmr-mean-norm-prompts", "roberta-sqrt-prompt", "bert-max-lower"}) {
    const json::value texts = base::parse_json_file(kModels + model + "/texts.json");
    std::string input;
    for (const json::value& text : texts.at("texts").as_array()) {
      if (text.at("prompt_name").is_null()) {
        input += json::serialize(text.at("text")) + "\n\n";  // blank lines are passed over
      } else {
        input += json::serialize(
                     json::object{{"text", text.at("text")}, {"prompt_name", text.at("prompt_name")}}) +
                 "\n";
      }
    }
    const Outcome outcome = embed({"--jsonl"}, input, model);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const std::vector<json::value> lines = json_lines(outcome.out);
    const std::vector<float> expected = golden(model, "embeddings");
    ASSERT_EQ(lines.size(), texts.at("texts").as_array().size());
    const std::size_t dimension = expected.size() / lines.size();
    float largest = 1;
    for (const float x : expected) largest = std::max(largest, std::abs(x));
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::vector<float> vector = floats(lines[i].at("embedding"));
      ASSERT_EQ(vector.size(), dimension);
      EXPECT_EQ(lines[i].at("tokens"), texts.at("texts").at(i).at("n_tokens"));
      for (std::size_t d = 0; d < dimension; ++d) {
        ASSERT_NEAR(vector[d], expected[i * dimension + d], 1e-5F * largest) << model << ' ' << i;
      }
    }
  }
}

TEST(Embed, TextsAndFilesInOrder) {
  const TemporaryFolder folder;
  const std::string file = folder.file("note.txt", "a text in a file");
  const std::vector<json::value> lines = json_lines(embed({"first", file, "--text", file}).out);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(json_lines(embed({"a text in a file"}).out).front(), lines[1]);
  EXPECT_NE(lines[1], lines[2]);  // the name itself
  EXPECT_EQ(json_lines(embed({"--prompt-name", "query", "x"}).out).front(),
            json_lines(embed({"--prompt", "query: ", "x"}).out).front());
}

TEST(Embed, WritesVectorFiles) {
  const TemporaryFolder folder;
  const std::string lines = "\"one\"\n\"two words\"\n{\"text\":\"three\"}\n";
  const std::vector<json::value> printed = json_lines(embed({"--jsonl"}, lines).out);
  std::vector<float> expected;
  for (const json::value& line : printed) {
    const std::vector<float> vector = floats(line.at("embedding"));
    expected.insert(expected.end(), vector.begin(), vector.end());
  }
  const std::size_t dimension = expected.size() / 3;

  const std::string tensors = folder.path() + "/v.safetensors", numpy = folder.path() + "/v.npy";
  Outcome outcome = embed({"--jsonl", "--out", tensors}, lines);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  const formats::SafetensorsFile file(tensors);
  const tensor::TensorView& view = file.tensors().at("embeddings");
  EXPECT_EQ(view.shape, (tensor::Shape{3, static_cast<std::int64_t>(dimension)}));
  std::vector<float> values(view.elements());
  view.read_floats(0, values);
  EXPECT_EQ(values, expected);

  outcome = embed({"--jsonl", "-o", numpy}, lines);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  std::ifstream in(numpy, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  ASSERT_EQ(bytes.size(), 256 + expected.size() * sizeof(float));
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_THAT(bytes.substr(10, 246),
              AllOf(HasSubstr("{'descr': '<f4', 'fortran_order': False, 'shape': (3, " +
                              std::to_string(dimension) + "), }"),
                    testing::EndsWith("\n")));
  EXPECT_EQ(std::memcmp(bytes.data() + 256, expected.data(), expected.size() * sizeof(float)), 0);
}

TEST(Embed, ShowsSimilarity) {
  const Outcome table = embed({"--similarity", "a man eats", "someone dines", std::string(300, 'x')});
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_THAT(table.out, AllOf(HasSubstr("cosine similarity\n"), HasSubstr("  1  a man eats\n"),
                               HasSubstr("  1   1.000"), HasSubstr("xxx…\n")));
  for (std::size_t begin = 0; begin < table.out.size();) {
    const std::size_t end = table.out.find('\n', begin);
    EXPECT_LE(end - begin, 82U);  // 80 columns; the ellipsis is three bytes
    begin = end + 1;
  }
  const json::value object = json_lines(embed({"--similarity", "--json", "a", "b"}).out).front();
  EXPECT_EQ(object.at("similarity_fn_name"), "cosine");
  EXPECT_NEAR(object.at("similarity").at(1).at(1).to_number<double>(), 1, 1e-6);
  EXPECT_EQ(object.at("similarity").at(0).at(1), object.at("similarity").at(1).at(0));
}

TEST(Embed, LongTextsAreCutAndSaySo) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "word ";
  const Outcome outcome = embed({"--jsonl"}, json::serialize(json::value(text)) + "\n");
  EXPECT_EQ(outcome.exit_code, 0);
  const json::value line = json_lines(outcome.out).front();
  EXPECT_GT(line.at("text_tokens").as_int64(), 2000);
  EXPECT_THAT(outcome.err,
              HasSubstr("1 text was longer than " + std::to_string(line.at("tokens").as_int64()) +
                        " tokens; the rest was left out"));
}

// What was read before is not lost.
TEST(Embed, AHalfWrittenLineEndsTheRun) {
  Outcome outcome = embed({"--jsonl"}, "\"one\"\n{\"text\":\"two\"}\n{\"text\":\"thr");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(json_lines(outcome.out).size(), 2U);
  EXPECT_THAT(outcome.err, HasSubstr("standard input:3"));
  outcome = embed({"--jsonl"}, "\"one\"\n7\n");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(json_lines(outcome.out).size(), 1U);
  EXPECT_THAT(outcome.err, HasSubstr("standard input:2: is neither a string nor {\"text\""));
  EXPECT_THAT(embed({"--jsonl"}, "{\"txt\":\"x\"}\n").err,
              HasSubstr("standard input:1: key text is missing"));
  EXPECT_THAT(embed({"--jsonl"}, "{\"text\":\"x\",\"prompt_name\":\"none\"}\n").err,
              HasSubstr("no prompt named \"none\""));
  EXPECT_EQ(embed({"--jsonl"}, "\n \n").out, "");
}

TEST(Embed, NothingIsLeftOfAFileThatWasNotFinished) {
  const TemporaryFolder folder;
  EXPECT_EQ(embed({"--jsonl", "--out", folder.path() + "/v.npy"}, "\"one\"\n{").exit_code, 1);
  EXPECT_THAT(folder.names(), testing::IsEmpty());
}

TEST(Embed, RefusesOtherModels) {
  const auto error = [](const std::string& model) {
    const Outcome outcome = run({.args = {"embed", "x", "--model", model}});
    EXPECT_EQ(outcome.exit_code, 1);
    return outcome.err;
  };
  EXPECT_THAT(error(tiny_model()), HasSubstr("it is a question-answering reader (BertForQuestionAnswering); "
                                             "kvasir ask takes it"));
  EXPECT_THAT(error(KVASIR_TEST_DATA "/rerankers/bert"), HasSubstr("it is a cross-encoder (BertForSequence"));
  EXPECT_THAT(error(KVASIR_TEST_DATA "/decoders/llama-gqa"), HasSubstr("kvasir generate takes it"));
  const Outcome ask =
      run({.args = {"ask", "-q", "Who?", "--context", "I.", "--model", kModels + "bert-mean-norm"}});
  EXPECT_EQ(ask.exit_code, 1);
  EXPECT_THAT(ask.err, HasSubstr("it is a sentence model (BertModel); kvasir embed takes it"));
}

TEST(Embed, RefusesSenselessCommandLines) {
  const auto error = [](std::vector<std::string> args) {
    const Outcome outcome = embed(std::move(args));
    EXPECT_EQ(outcome.exit_code, 2);
    return outcome.err;
  };
  EXPECT_THAT(error({}), HasSubstr("no text"));
  EXPECT_THAT(error({"x", "--out", "x.txt"}), HasSubstr("should end in .npy or .safetensors"));
  EXPECT_THAT(error({"x", "--similarity"}), HasSubstr("give two or more"));
  EXPECT_THAT(error({"x", "y", "--similarity", "--jsonl"}), HasSubstr("without --jsonl"));
  EXPECT_THAT(error({"x", "--prompt", "a", "--prompt-name", "b"}), HasSubstr("give one of them"));
  EXPECT_THAT(embed({"x", "--out", "/dev/null/x.npy"}).err, HasSubstr("cannot be written"));
}

TEST(Embed, OtherCommandsKnowSentenceModels) {
  const TemporaryFolder folder;
  const std::string small = folder.path() + "/small";
  const Outcome quantized = run({.args = {"quantize", kModels + "bert-mean-dense-norm", small}});
  EXPECT_EQ(quantized.exit_code, 0) << quantized.err;
  EXPECT_THAT(quantized.out, HasSubstr("cosine of vectors with those of fp32: 0.9"));
  const auto vector_of = [](const std::string& model) {
    const Outcome outcome = run({.args = {"embed", "a man eats pasta", "--model", model}});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return floats(json_lines(outcome.out).front().at("embedding"));
  };
  const std::vector<float> exact = vector_of(kModels + "bert-mean-dense-norm"), rounded = vector_of(small);
  double cosine = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) cosine += static_cast<double>(exact[i] * rounded[i]);
  EXPECT_GT(cosine, 0.98);
  EXPECT_NE(exact, rounded);

  const Outcome shown = run({.args = {"show", kModels + "bert-mean-dense-norm"}});
  EXPECT_THAT(shown.out, AllOf(HasSubstr("kind          a sentence model\n"),
                               HasSubstr("command       kvasir embed\n"), HasSubstr("2_Dense/config.json")));
  const std::string ids = folder.file("ids.json", R"({"sequences":[{"input_ids":[2,5,7,3]}]})");
  const std::string out = folder.path() + "/out.safetensors";
  EXPECT_EQ(
      run({.args = {"logits", "--ids", ids, "--out", out, "--model", kModels + "bert-mean-norm"}}).exit_code,
      0);
  EXPECT_EQ(formats::SafetensorsFile(out).tensors().at("embedding.0").shape, tensor::Shape{32});
}

}  // namespace
}  // namespace kvasir::tests
