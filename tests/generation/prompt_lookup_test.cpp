// Guesses from the text so far.
#include "generation/prompt_lookup.h"

#include <gtest/gtest.h>

#include <random>

#include "kvasir/error.h"

namespace kvasir::tests {
namespace {

using generation::PromptLookup;
using Ids = std::vector<std::int32_t>;

TEST(PromptLookup, ProposesWhatFollowedTheLatestOccurrence) {
  EXPECT_EQ(PromptLookup({}, Ids{1, 2, 3, 4, 1, 2, 5, 6, 1, 2}).propose(3), (Ids{5, 6, 1}));
  EXPECT_EQ(PromptLookup({}, Ids{9, 1, 2, 3, 4, 1, 2, 5, 9, 1, 2}).propose(2), (Ids{3, 4}))
      << "the longest counts";
  EXPECT_TRUE(PromptLookup({}, Ids{1, 2, 3, 2}).propose(3).empty()) << "one token is not enough";
  EXPECT_EQ(PromptLookup({.min_ngram = 1}, Ids{1, 2, 3, 2}).propose(1), (Ids{3}));
  EXPECT_TRUE(PromptLookup({}, Ids{}).propose(3).empty());
  EXPECT_TRUE(PromptLookup({}, Ids{1, 2, 1, 2}).propose(0).empty());
}

TEST(PromptLookup, RepeatsWhatRunsIntoTheEnd) {
  EXPECT_EQ(PromptLookup({}, Ids{7, 1, 2, 3, 1, 2, 3}).propose(7), (Ids{1, 2, 3, 1, 2, 3, 1}));
  EXPECT_EQ(PromptLookup({}, Ids{5, 5, 5}).propose(4), (Ids{5, 5, 5, 5}));
}

// The plain definition: the latest earlier end of the longest run.
Ids expected(const Ids& tokens, std::size_t most, const generation::PromptLookupOptions& options) {
  for (std::size_t n = std::min(options.max_ngram, tokens.size()); n >= options.min_ngram; --n) {
    for (std::size_t end = tokens.size() - 1; end >= n; --end) {
      if (!std::equal(tokens.end() - static_cast<std::ptrdiff_t>(n), tokens.end(),
                      tokens.begin() + static_cast<std::ptrdiff_t>(end - n))) {
        continue;
      }
      Ids text = tokens;
      for (std::size_t i = 0; i < most; ++i) text.push_back(text[end + i]);
      return {text.begin() + static_cast<std::ptrdiff_t>(tokens.size()), text.end()};
    }
  }
  return {};
}

TEST(PromptLookup, EqualsThePlainDefinition) {
  std::mt19937 random(2);
  for (int trial = 0; trial < 500; ++trial) {
    const std::size_t min = 1 + random() % 3;
    const generation::PromptLookupOptions options{.min_ngram = min, .max_ngram = min + random() % 4};
    Ids tokens(random() % 60);
    for (std::int32_t& id : tokens) id = static_cast<std::int32_t>(random() % 4);
    PromptLookup lookup(options, std::span(tokens).first(tokens.size() / 2));
    for (std::size_t i = tokens.size() / 2; i < tokens.size(); ++i) lookup.append(tokens[i]);
    if (tokens.empty()) continue;
    ASSERT_EQ(lookup.propose(6), expected(tokens, 6, options)) << ::testing::PrintToString(tokens);
  }
}

TEST(PromptLookup, RefusesWhatCannotBeMeant) {
  EXPECT_THROW(PromptLookup({.min_ngram = 0}, Ids{}), Error);
  EXPECT_THROW(PromptLookup({.min_ngram = 9, .max_ngram = 8}, Ids{}), Error);
}

}  // namespace
}  // namespace kvasir::tests
