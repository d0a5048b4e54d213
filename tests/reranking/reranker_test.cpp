// Cross-encoders and classifiers against sentence-transformers 5.2.
#include "kvasir/reranker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "reranking/pair_truncation.h"
#include "temporary_folder.h"
#include "test_isa.h"

namespace kvasir::reranking {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::filesystem::path model_folder(const std::string& name) {
  return std::filesystem::path(KVASIR_TEST_DATA) / "rerankers" / name;
}

Reranker load(const std::filesystem::path& folder) {
  return Reranker::load(folder, {.threads = 2, .isa = base::isa_name(tests::test_isa())});
}

std::string test_name(const testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  std::ranges::replace(name, '-', '_');
  return name;
}

std::vector<double> numbers(const base::json::value& value) {
  std::vector<double> list;
  if (value.is_array()) {
    for (const auto& each : value.as_array()) list.push_back(each.to_number<double>());
  } else {
    list.push_back(value.to_number<double>());
  }
  return list;
}

void expect_near(const std::vector<float>& actual, const std::vector<double>& expected, std::size_t pair) {
  ASSERT_EQ(actual.size(), expected.size()) << pair;
  double largest = 1;
  for (const double x : expected) largest = std::max(largest, std::abs(x));
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_NEAR(static_cast<double>(actual[i]), expected[i], 1e-4 * largest) << pair;
  }
}

class Model : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, Model,
                         testing::Values("bert", "xlm-roberta", "electra", "deberta-v2", "modernbert-cls",
                                         "modernbert-mean", "distilbert", "roberta-nli"),
                         test_name);

TEST_P(Model, EqualsTheReference) {
  const Reranker reranker = load(model_folder(GetParam()));
  const base::json::value file = base::parse_json_file(model_folder(GetParam()) / "expected.json");
  EXPECT_EQ(reranker.max_length(), file.at("max_length").to_number<std::size_t>());
  std::vector<std::pair<std::string, std::string>> texts;
  for (const auto& pair : file.at("pairs").as_array()) {
    texts.emplace_back(std::string(pair.at("query").as_string()), std::string(pair.at("text").as_string()));
  }
  std::vector<TextPair> pairs;
  for (const auto& [query, text] : texts) pairs.push_back({.query = query, .text = text});
  std::size_t done = 0;
  reranker.score_batch(pairs, {}, [&](std::size_t i, PairScore& score) {
    ASSERT_EQ(i, done++);
    const auto& expected = file.at("pairs").at(i);
    EXPECT_EQ(score.tokens, expected.at("input_ids").as_array().size()) << i;
    expect_near(score.logits, numbers(expected.at("logits")), i);
    expect_near(score.scores, numbers(expected.at("score")), i);
    EXPECT_EQ(reranker.score(pairs[i]).logits, score.logits) << i;  // the same bits alone
  });
  EXPECT_EQ(done, pairs.size());
}

TEST(Reranker, RanksTheBestFirst) {
  const Reranker reranker = load(model_folder("bert"));
  const std::vector<std::string_view> texts = {"one", "two words", "three more words", "one"};
  const std::vector<RankedText> ranked = reranker.rank("a query", texts);
  ASSERT_EQ(ranked.size(), texts.size());
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    EXPECT_EQ(ranked[i].score,
              reranker.score({.query = "a query", .text = texts[ranked[i].index]}).scores.front());
    if (i == 0) continue;
    EXPECT_GE(ranked[i - 1].score, ranked[i].score);
    if (ranked[i - 1].score == ranked[i].score) {
      EXPECT_LT(ranked[i - 1].index, ranked[i].index);
    }
  }
  EXPECT_TRUE(reranker.rank("a query", {}).empty());
}

TEST(Reranker, LabelsAreThoseOfTheConfig) {
  const Reranker reranker = load(model_folder("roberta-nli"));
  EXPECT_EQ(reranker.labels().size(), 3U);
  const PairScore score = reranker.score({.query = "a", .text = "b"});
  double sum = 0;
  for (const float x : score.scores) sum += static_cast<double>(x);
  EXPECT_NEAR(sum, 1, 1e-6);
  const std::vector<std::string_view> texts = {"x"};
  try {
    reranker.rank("a", texts);
    FAIL() << "ranked by three labels";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("the model has 3 labels"));
  }
}

TEST(Reranker, LongPairsAreCutAndSaySo) {
  const Reranker reranker = load(model_folder("bert"));
  std::string text;
  for (int i = 0; i < 300; ++i) text += "word ";
  const PairScore score = reranker.score({.query = "a query", .text = text});
  EXPECT_EQ(score.tokens, reranker.max_length());
  EXPECT_GT(score.pair_tokens, 300U);
  EXPECT_TRUE(score.truncated());
}

TEST(Reranker, RefusesWhatItCannotScore) {
  const Reranker reranker = load(model_folder("bert"));
  const auto error_of = [&](const std::function<void()>& action) -> std::string {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  };
  EXPECT_THAT(error_of([&] { reranker.score({.query = "\xFF", .text = "b"}); }),
              HasSubstr("pair 0: the query is not UTF-8 (byte 0)"));
  const tests::TemporaryFolder folder;
  std::filesystem::copy(model_folder("bert"), folder.path(), std::filesystem::copy_options::recursive);
  base::json::value config = base::parse_json_file(folder / "config.json");
  config.as_object()["sbert_ce_default_activation_function"] = "torch.nn.modules.activation.Softplus";
  std::ofstream(folder / "config.json") << base::json::serialize(config);
  EXPECT_THAT(error_of([&] { load(folder.path()); }), HasSubstr("Softplus is not supported; known: Sigmoid"));
}

TEST(PairTruncation, LongestFirst) {
  using Pair = std::pair<std::size_t, std::size_t>;
  EXPECT_EQ(longest_first(3, 4, 10), Pair(3, 4));
  EXPECT_EQ(longest_first(3, 10, 10), Pair(3, 7));  // the longer gives way
  EXPECT_EQ(longest_first(10, 3, 10), Pair(7, 3));
  EXPECT_EQ(longest_first(8, 9, 10), Pair(5, 5));
  EXPECT_EQ(longest_first(8, 9, 11), Pair(5, 6));
  EXPECT_EQ(longest_first(9, 8, 11), Pair(6, 5));
  EXPECT_EQ(longest_first(9, 9, 11), Pair(5, 6));  // of equals the first counts as the shorter
  EXPECT_EQ(longest_first(5, 0, 3), Pair(3, 0));
  EXPECT_EQ(longest_first(5, 5, 0), Pair(0, 0));
}

}  // namespace
}  // namespace kvasir::reranking
