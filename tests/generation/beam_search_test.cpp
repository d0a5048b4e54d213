// Beam search, against transformers' on models that are a table of logits.
#include "generation/beam_search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/json.h"
#include "kvasir/error.h"

namespace kvasir::tests {
namespace {

using generation::BeamSearch;
using generation::BeamSearchOptions;
using generation::EarlyStopping;

using Table = std::vector<std::vector<float>>;

Table numbers(const base::json::value& rows) {
  Table out;
  for (const auto& row : rows.as_array()) {
    out.emplace_back();
    for (const auto& x : row.as_array()) out.back().push_back(x.to_number<float>());
  }
  return out;
}

// The next token depends on the last one and on how many there are.
struct TableModel {
  Table table, shifts;
  std::vector<std::int32_t> prompt;

  std::vector<float> logits(std::span<const std::int32_t> generated) const {
    const std::int32_t last = generated.empty() ? prompt.back() : generated.back();
    std::vector<float> row = table[static_cast<std::size_t>(last)];
    const auto& shift = shifts[(prompt.size() + generated.size()) % shifts.size()];
    for (std::size_t i = 0; i < row.size(); ++i) row[i] += shift[i];
    return row;
  }
  std::vector<float> next_logits(const BeamSearch& search) const {
    std::vector<float> rows;
    for (std::size_t beam = 0; beam < search.live(); ++beam) {
      const auto row = logits(search.tokens(beam));
      rows.insert(rows.end(), row.begin(), row.end());
    }
    return rows;
  }
};

EarlyStopping early_stopping(std::string_view name) {
  return name == "true" ? EarlyStopping::kYes : name == "never" ? EarlyStopping::kNever : EarlyStopping::kNo;
}

TEST(BeamSearch, EqualsTransformers) {
  const auto file = base::parse_json_file(std::string(KVASIR_TEST_DATA) + "/sampling/beams.json");
  ASSERT_GE(file.at("cases").as_array().size(), 200u);
  for (const auto& one : file.at("cases").as_array()) {
    base::json::object settings = one.as_object();
    settings.erase("sequences");
    SCOPED_TRACE(base::json::serialize(settings));
    const auto& model_json = file.at("tables").as_array()[one.at("table").to_number<std::size_t>()];
    TableModel model{numbers(model_json.at("table")), numbers(model_json.at("shifts")), {}};
    for (const auto& id : one.at("prompt").as_array()) model.prompt.push_back(id.to_number<std::int32_t>());
    BeamSearchOptions options{.num_beams = one.at("num_beams").to_number<std::size_t>(),
                              .max_new_tokens = one.at("max_new_tokens").to_number<std::size_t>(),
                              .length_penalty = one.at("length_penalty").to_number<float>(),
                              .early_stopping = early_stopping(one.at("early_stopping").as_string())};
    options.num_return_sequences = options.num_beams;
    for (const auto& id : one.at("eos_token_ids").as_array()) {
      options.eos_token_ids.push_back(id.to_number<std::int32_t>());
    }
    BeamSearch search(options);
    std::vector<std::vector<std::int32_t>> histories(1);
    while (!search.done()) {
      std::vector<float> logits = model.next_logits(search);
      const auto continuations = search.step(logits);
      // What the caller's caches would hold is what the search says that its beams hold.
      std::vector<std::vector<std::int32_t>> next;
      for (const auto& [parent, token] : continuations) {
        next.push_back(histories[parent]);
        next.back().push_back(token);
      }
      histories = next;
      ASSERT_EQ(search.live(), histories.size());
      for (std::size_t i = 0; i < histories.size(); ++i) {
        ASSERT_TRUE(std::equal(histories[i].begin(), histories[i].end(), search.tokens(i).begin(),
                               search.tokens(i).end()));
      }
    }
    const auto found = search.finish();
    const auto& expected = one.at("sequences").as_array();
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      std::vector<std::int32_t> ids;
      for (const auto& id : expected[i].at("ids").as_array()) ids.push_back(id.to_number<std::int32_t>());
      EXPECT_EQ(found[i].tokens, ids) << i;
      const auto score = expected[i].at("score").to_number<float>();
      EXPECT_NEAR(found[i].score, score, 1e-5 * std::abs(score) + 1e-6);
      float sum = 0;
      for (const float logprob : found[i].logprobs) sum += logprob;
      const double length =
          std::pow(static_cast<double>(ids.size()), static_cast<double>(options.length_penalty));
      EXPECT_NEAR(found[i].score, sum / length, 1e-4);
    }
  }
}

TEST(BeamSearch, EqualCandidatesGoByBeamAndToken) {
  BeamSearch search({.num_beams = 3, .max_new_tokens = 2});
  std::vector<float> first = {1, 1, 1, 1};
  const auto begun = search.step(first);
  ASSERT_EQ(begun.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(begun[i].parent, 0u);
    EXPECT_EQ(begun[i].token, static_cast<std::int32_t>(i));
  }
  std::vector<float> second(12, 0);
  EXPECT_TRUE(search.step(second).empty());
  EXPECT_TRUE(search.done());
  EXPECT_EQ(search.finish()[0].tokens, (std::vector<std::int32_t>{0, 0}));
}

TEST(BeamSearch, AdjustSeesTheTokensAndForbids) {
  BeamSearch search({.num_beams = 2, .max_new_tokens = 3});
  const BeamSearch::Adjust no_repeats = [](std::span<const std::int32_t> tokens, std::span<float> logprobs) {
    for (const std::int32_t id : tokens)
      logprobs[static_cast<std::size_t>(id)] = -std::numeric_limits<float>::infinity();
  };
  while (!search.done()) {
    std::vector<float> logits;
    for (std::size_t i = 0; i < search.live(); ++i) logits.insert(logits.end(), {3, 2, 1});
    search.step(logits, no_repeats);
  }
  EXPECT_EQ(search.finish()[0].tokens, (std::vector<std::int32_t>{0, 1, 2}));
}

TEST(BeamSearch, EndsIfNothingIsAllowed) {
  BeamSearch search({.num_beams = 2, .max_new_tokens = 9});
  std::vector<float> logits = {1, 2};
  search.step(logits, [](auto, std::span<float> row) {
    for (float& x : row) x = -std::numeric_limits<float>::infinity();
  });
  EXPECT_TRUE(search.done());
  EXPECT_TRUE(search.finish().empty());
}

// Token 2 is no end, but whoever says is_over knows that nothing comes after it.
TEST(BeamSearch, EndsWhereItIsOver) {
  BeamSearch search({.num_beams = 2, .max_new_tokens = 9, .eos_token_ids = {0}, .num_return_sequences = 2});
  const BeamSearch::IsOver is_over = [](std::span<const std::int32_t> tokens) { return tokens.back() == 2; };
  int steps = 0;
  for (; !search.done() && steps < 9; ++steps) {
    std::vector<float> logits;
    for (std::size_t i = 0; i < search.live(); ++i) logits.insert(logits.end(), {-9, 1, 1.5F});
    search.step(logits, nullptr, is_over);
  }
  const auto found = search.finish();
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].tokens, std::vector<std::int32_t>{2});
  EXPECT_EQ(found[1].tokens, (std::vector<std::int32_t>{1, 2}));
  EXPECT_TRUE(found[0].ended && found[1].ended);
  EXPECT_EQ(steps, 2);
}

TEST(BeamSearch, UnfinishedGivesWhatThereIs) {
  BeamSearch search({.num_beams = 2, .max_new_tokens = 9});
  EXPECT_TRUE(search.finish().empty());
  std::vector<float> logits = {1, 2, 0};
  search.step(logits);
  const auto found = search.finish();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].tokens, std::vector<std::int32_t>{1});
  EXPECT_FALSE(found[0].ended);
}

TEST(BeamSearch, RefusesWhatCannotBeMeant) {
  EXPECT_THROW(BeamSearch({.num_beams = 0}), Error);
  EXPECT_THROW(BeamSearch({.num_beams = 2, .num_return_sequences = 3}), Error);
  EXPECT_THROW(BeamSearch({.max_new_tokens = 0}), Error);
  EXPECT_THROW(BeamSearch({.length_penalty = std::numeric_limits<float>::quiet_NaN()}), Error);
  BeamSearch search({.num_beams = 2});
  std::vector<float> logits = {1, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_THROW(search.step(logits), Error);
  EXPECT_THROW(search.step({}), Error);
}

}  // namespace
}  // namespace kvasir::tests
