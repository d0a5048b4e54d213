#include "qa/logits_cache.h"

#include <gtest/gtest.h>

namespace kvasir::qa {
namespace {

using Ids = std::vector<std::int32_t>;

runtime::Sequence sequence(const Ids& ids, const Ids& types = {}, std::size_t keys = 0) {
  return {.input_ids = ids, .token_type_ids = types, .keys = keys};
}

TEST(LogitsCache, KnowsASequenceByAllThatTheModelSees) {
  LogitsCache cache(1 << 20);
  const Ids ids{1, 2, 3}, other_ids{1, 2, 4}, types{0, 0, 1};
  const auto [entry, is_new] = cache.find_or_add(sequence(ids, types, 3));
  EXPECT_TRUE(is_new);
  EXPECT_FALSE(entry->ready());
  entry->start = {1, 2, 3}, entry->end = {4, 5, 6};
  const auto again = cache.find_or_add(sequence(ids, types, 3));
  EXPECT_FALSE(again.second);
  EXPECT_EQ(again.first, entry);
  EXPECT_TRUE(again.first->ready());
  EXPECT_TRUE(cache.find_or_add(sequence(other_ids, types, 3)).second);
  EXPECT_TRUE(cache.find_or_add(sequence(ids, {}, 3)).second);
  EXPECT_TRUE(cache.find_or_add(sequence(ids, types, 2)).second);
  runtime::Sequence part = sequence(ids, types, 3);
  part.wanted = {.begin = 1, .end = 2};
  EXPECT_TRUE(cache.find_or_add(part).second) << "its other logits were not computed";
  EXPECT_FALSE(cache.find_or_add(part).second);
}

TEST(LogitsCache, ForgetsTheOldestFirst) {
  std::vector<Ids> all;
  for (std::int32_t i = 0; i < 100; ++i) all.emplace_back(100, i);
  LogitsCache cache(100 * 100 * 12 / 2);  // some 45 of them
  for (const Ids& ids : all) cache.find_or_add(sequence(ids));
  for (const Ids& ids : all) EXPECT_FALSE(cache.find_or_add(sequence(ids)).second) << "not before trim()";
  cache.find_or_add(sequence(all[0]));  // young again
  cache.trim();
  EXPECT_FALSE(cache.find_or_add(sequence(all[0])).second);
  EXPECT_FALSE(cache.find_or_add(sequence(all[60])).second);
  EXPECT_FALSE(cache.find_or_add(sequence(all[99])).second);
  EXPECT_TRUE(cache.find_or_add(sequence(all[1])).second);
  EXPECT_TRUE(cache.find_or_add(sequence(all[50])).second);
}

TEST(LogitsCache, MayHoldNothing) {
  LogitsCache cache(0);
  const Ids ids{1, 2, 3};
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(cache.find_or_add(sequence(ids)).second);
    cache.trim();
  }
}

}  // namespace
}  // namespace kvasir::qa
