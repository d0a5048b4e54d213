// Sentence models against sentence-transformers 5.2.
#include "kvasir/embedder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "formats/safetensors.h"
#include "temporary_folder.h"
#include "test_isa.h"

namespace kvasir::embedding {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::filesystem::path model_folder(const std::string& name) {
  return std::filesystem::path(KVASIR_TEST_DATA) / "sentence-models" / name;
}

Embedder load(const std::filesystem::path& folder, const std::string& precision = "auto") {
  return Embedder::load(folder,
                        {.threads = 2, .isa = base::isa_name(tests::test_isa()), .precision = precision});
}

std::string test_name(const testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  std::ranges::replace(name, '-', '_');
  return name;
}

struct Text {
  std::string text;
  std::optional<std::string> prompt_name;
  std::size_t tokens;
};
std::vector<Text> load_texts(const base::json::value& file) {
  std::vector<Text> texts;
  for (const auto& value : file.at("texts").as_array()) {
    Text& text = texts.emplace_back();
    text.text = std::string(value.at("text").as_string());  // may hold NUL
    const auto& prompt = value.at("prompt_name");
    if (prompt.is_string()) text.prompt_name = prompt.as_string().c_str();
    text.tokens = value.at("n_tokens").to_number<std::size_t>();
  }
  return texts;
}

// A tensor of a golden file, as floats.
std::vector<float> read(const formats::SafetensorsFile& file, const std::string& name) {
  const tensor::TensorView& view = file.tensors().at(name);
  std::vector<float> values(view.elements());
  view.read_floats(0, values);
  return values;
}

std::vector<Embedding> embed(const Embedder& embedder, const std::vector<Text>& texts) {
  std::vector<EmbedText> inputs;
  for (const Text& text : texts) inputs.push_back({.text = text.text, .prompt_name = text.prompt_name});
  std::vector<Embedding> results;
  embedder.embed_batch(inputs, {}, [&](std::size_t i, Embedding& embedding) {
    EXPECT_EQ(i, results.size());
    results.push_back(std::move(embedding));
  });
  return results;
}

class SentenceModel : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, SentenceModel,
                         testing::Values("bert-mean-norm", "bert-cls-norm", "mpnet-mean",
                                         "xlmr-mean-norm-prompts", "modernbert-cls", "bert-mean-dense-norm",
                                         "bert-max-lower", "roberta-sqrt-prompt", "distilbert-cls-weighted"),
                         test_name);

TEST_P(SentenceModel, EqualsTheReference) {
  const std::filesystem::path folder = model_folder(GetParam());
  const base::json::value file = base::parse_json_file(folder / "texts.json");
  const formats::SafetensorsFile golden(folder / "expected.safetensors");
  const std::vector<float> vectors = read(golden, "embeddings"), similarity = read(golden, "similarity");
  const std::vector<Text> texts = load_texts(file);
  const Embedder embedder = load(folder);
  const std::size_t dimension = embedder.dimension();
  ASSERT_EQ(vectors.size(), texts.size() * dimension);
  EXPECT_EQ(embedder.max_seq_length(), file.at("max_seq_length").to_number<std::size_t>());
  EXPECT_EQ(embedder.similarity_name(), file.at("similarity_fn_name").as_string().c_str());

  const std::vector<Embedding> together = embed(embedder, texts);
  ASSERT_EQ(together.size(), texts.size());
  float largest = 1;
  for (const float x : vectors) largest = std::max(largest, std::abs(x));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const Embedding alone = embedder.embed(texts[i].text, {.prompt_name = texts[i].prompt_name});
    EXPECT_EQ(alone.vector, together[i].vector) << i;  // the same bits, whatever else is in the batch
    EXPECT_EQ(together[i].tokens, texts[i].tokens) << i;
    for (std::size_t d = 0; d < dimension; ++d) {
      ASSERT_NEAR(together[i].vector[d], vectors[i * dimension + d], 1e-5F * largest) << i;
    }
    for (std::size_t j = 0; j < texts.size(); ++j) {
      const double expected = static_cast<double>(similarity[i * texts.size() + j]);
      ASSERT_NEAR(embedder.similarity(together[i].vector, together[j].vector), expected,
                  1e-4 * std::max(1.0, std::abs(expected)))
          << i << ' ' << j;
    }
  }
}

TEST_P(SentenceModel, Int8PointsTheSameWay) {
  const std::filesystem::path folder = model_folder(GetParam());
  const std::vector<Text> texts = load_texts(base::parse_json_file(folder / "texts.json"));
  const std::vector<Embedding> exact = embed(load(folder), texts);
  const std::vector<Embedding> rounded = embed(load(folder, "int8"), texts);
  double worst = 1;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    double dot = 0, a = 0, b = 0;
    for (std::size_t d = 0; d < exact[i].vector.size(); ++d) {
      const auto x = static_cast<double>(exact[i].vector[d]), y = static_cast<double>(rounded[i].vector[d]);
      dot += x * y, a += x * x, b += y * y;
    }
    worst = std::min(worst, dot / std::sqrt(a * b));
  }
  EXPECT_GT(worst, 0.98);
  EXPECT_LT(worst, 1 - 1e-9);  // it did compute with bytes
}

TEST(Embedder, LongTextsAreCutAndSaySo) {
  const Embedder embedder = load(model_folder("bert-mean-norm"));
  std::string text;
  for (int i = 0; i < 100; ++i) text += "word ";
  const Embedding embedding = embedder.embed(text);
  EXPECT_EQ(embedding.tokens, embedder.max_seq_length());
  EXPECT_GT(embedding.text_tokens, 100U);
  EXPECT_TRUE(embedding.truncated());
  EXPECT_FALSE(embedder.embed("").truncated());
  EXPECT_EQ(embedder.embed("").tokens, 2U);  // [CLS] [SEP]
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

TEST(Embedder, RefusesBadTextsAndPrompts) {
  const Embedder embedder = load(model_folder("xlmr-mean-norm-prompts"));
  EXPECT_THAT(error_of([&] { embedder.embed("a\xFF"); }),
              AllOf(HasSubstr("invalid_argument: "), HasSubstr("not UTF-8 (byte 1)")));
  EXPECT_THAT(error_of([&] { embedder.embed("a", {.prompt_name = "none"}); }),
              AllOf(HasSubstr("no prompt named \"none\""), HasSubstr("passage"), HasSubstr("query")));
  EXPECT_EQ(embedder.embed("a", {.prompt = embedder.prompts().at("query")}).vector,
            embedder.embed("a", {.prompt_name = "query"}).vector);
  EXPECT_THAT(error_of([&] { embedder.similarity(std::vector<float>(2), std::vector<float>(3)); }),
              HasSubstr("one vector has 2 components, the other 3"));
}

// A copy of a model whose files a test changes.
class Copy {
 public:
  explicit Copy(const std::string& name) {
    std::filesystem::copy(model_folder(name), folder_.path(), std::filesystem::copy_options::recursive);
  }
  void write(const std::string& file, const std::string& text) { std::ofstream(folder_ / file) << text; }
  void replace(const std::string& file, const std::string& from, const std::string& to) {
    std::ifstream in(folder_ / file);
    std::string text{std::istreambuf_iterator<char>(in), {}};
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << file;
    write(file, text.replace(at, from.size(), to));
  }
  std::filesystem::path path() const { return folder_.path(); }
  std::string load_error() const {
    return error_of([&] { load(folder_.path()); });
  }

 private:
  tests::TemporaryFolder folder_;
};

TEST(Embedder, RefusesModulesItDoesNotKnow) {
  Copy copy("bert-mean-dense-norm");
  copy.replace("modules.json", "models.Dense", "models.CNN");
  EXPECT_THAT(copy.load_error(), AllOf(HasSubstr("unsupported: "),
                                       HasSubstr("modules.json: module sentence_transformers.models.CNN "
                                                 "is not supported; known: Transformer, Pooling")));
  copy.replace("modules.json", "models.CNN", "models.Dense");
  EXPECT_EQ(copy.load_error(), "none");
  copy.replace("2_Dense/config.json", "activation.Tanh", "activation.Mish");
  EXPECT_THAT(copy.load_error(),
              AllOf(HasSubstr("unsupported: "), HasSubstr("Mish is not supported; known: Tanh")));
  copy.write("modules.json", "{}");
  EXPECT_THAT(copy.load_error(), HasSubstr("modules.json: is not a list of modules"));
  copy.write("modules.json", "[]");
  EXPECT_THAT(copy.load_error(), HasSubstr("has no module Pooling"));
  copy.write("modules.json", R"([{"type":"sentence_transformers.models.Transformer","path":"../other"}])");
  EXPECT_THAT(copy.load_error(), HasSubstr("key path leads out of the folder"));
}

TEST(Embedder, RefusesModulesThatDoNotFit) {
  {
    Copy copy("bert-mean-dense-norm");
    copy.replace("2_Dense/config.json", "\"in_features\": 32", "\"in_features\": 48");
    EXPECT_THAT(copy.load_error(),
                AllOf(HasSubstr("format: "), HasSubstr("in_features = 48, but what comes before "
                                                       "has 32 components")));
  }
  {
    Copy copy("bert-mean-dense-norm");
    copy.replace("2_Dense/config.json", "\"out_features\": 24", "\"out_features\": 25");
    EXPECT_THAT(copy.load_error(), AllOf(HasSubstr("format: "), HasSubstr("out_features = 25")));
  }
  {
    Copy copy("bert-mean-norm");
    copy.replace("1_Pooling/config.json", "\"word_embedding_dimension\": 32",
                 "\"word_embedding_dimension\": 31");
    EXPECT_THAT(copy.load_error(), HasSubstr("pooling is made for states of 31 components"));
    copy.replace("1_Pooling/config.json", "\"pooling_mode_mean_tokens\": true",
                 "\"pooling_mode_mean_tokens\": false");
    EXPECT_THAT(copy.load_error(), HasSubstr("no pooling_mode is true"));
  }
}

// As sentence-transformers: the mean of all tokens.
TEST(Embedder, TakesAnEncoderWithoutModules) {
  Copy copy("bert-mean-norm");
  const std::vector<float> normalized = load(copy.path()).embed("hello world").vector;
  std::filesystem::remove(copy.path() / "modules.json");
  const std::vector<float> mean = load(copy.path()).embed("hello world").vector;
  ASSERT_EQ(mean.size(), normalized.size());
  double squares = 0;
  for (const float x : mean) squares += static_cast<double>(x) * static_cast<double>(x);
  for (std::size_t i = 0; i < mean.size(); ++i) {
    EXPECT_NEAR(static_cast<double>(mean[i]) / std::sqrt(squares), static_cast<double>(normalized[i]), 1e-6);
  }
}

}  // namespace
}  // namespace kvasir::embedding
