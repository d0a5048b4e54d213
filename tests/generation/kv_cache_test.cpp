// Pages: who shares what, what stays, what goes.
#include "generation/kv_cache.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace kvasir::generation {
namespace {

const models::KvShape kShape{
    .layers = 1, .heads = 1, .layout = {.head_dim = 4, .type = kernels::KvType::kF32}};

std::vector<std::int32_t> ids(std::size_t count, std::int32_t first = 0) {
  std::vector<std::int32_t> result(count);
  std::iota(result.begin(), result.end(), first);
  return result;
}

KvCache::Sequence run(KvCache& cache, std::span<const std::int32_t> prompt) {
  KvCache::Sequence sequence = cache.begin(prompt);
  EXPECT_TRUE(cache.reserve(sequence, prompt.size()));
  cache.commit(sequence, prompt);
  return sequence;
}

TEST(KvCache, SharesFullPagesOfTheSameBeginning) {
  KvCache cache(kShape, {});
  const KvCache::Sequence first = run(cache, ids(40));
  EXPECT_EQ(first.pages().size(), 3U);
  const KvCache::Sequence second = cache.begin(ids(100));
  EXPECT_EQ(second.length(), 32U);
  EXPECT_EQ(second.pages()[0], first.pages()[0]);
  EXPECT_EQ(second.pages()[1], first.pages()[1]);
  EXPECT_EQ(cache.begin(ids(40, 1)).length(), 0U);
  std::vector<std::int32_t> other = ids(40);
  other[20] = 999;
  EXPECT_EQ(cache.begin(other).length(), 16U);
}

// One token must be run, or there would be no logits.
TEST(KvCache, LeavesOneTokenToRun) {
  KvCache cache(kShape, {});
  const KvCache::Sequence first = run(cache, ids(32));
  EXPECT_EQ(cache.begin(ids(32)).length(), 16U);
  EXPECT_EQ(cache.begin(ids(33)).length(), 32U);
  EXPECT_EQ(cache.begin(ids(33), 20).length(), 16U);
}

TEST(KvCache, KeepsPagesAfterTheirSequence) {
  KvCache cache(kShape, {});
  run(cache, ids(64));
  EXPECT_EQ(cache.pages_in_use(), 0U);
  EXPECT_EQ(cache.begin(ids(65)).length(), 64U);
  EXPECT_EQ(cache.pages_allocated(), 4U);
}

TEST(KvCache, TakesTheLeastRecentlyUsedAndItsFollowersAreForgotten) {
  KvCache cache(kShape, {.max_bytes = 6 * kShape.page_bytes()});
  run(cache, ids(48));                                       // pages a b c
  run(cache, ids(48, 1000));                                 // pages d e f
  { const KvCache::Sequence again = cache.begin(ids(49)); }  // a b c used again
  KvCache::Sequence third = cache.begin(ids(32, 5000));
  ASSERT_TRUE(cache.reserve(third, 32));
  EXPECT_EQ(cache.begin(ids(49, 1000)).length(), 16U);  // the last ones went first
  EXPECT_EQ(cache.begin(ids(49)).length(), 48U);
  EXPECT_EQ(cache.pages_allocated(), 6U);
}

TEST(KvCache, SaysWhenThereIsNoRoom) {
  KvCache cache(kShape, {.max_bytes = 3 * kShape.page_bytes()});
  KvCache::Sequence first = run(cache, ids(32));
  KvCache::Sequence second = cache.begin(ids(40, 1000));
  EXPECT_FALSE(cache.reserve(second, 40));
  EXPECT_EQ(second.pages().size(), 0U);
  EXPECT_TRUE(cache.reserve(second, 10));
  EXPECT_FALSE(cache.reserve(first, 33));
  second.clear();
  EXPECT_TRUE(cache.reserve(first, 33));
}

TEST(KvCache, ForksShareWhatIsFullAndCopyTheRest) {
  KvCache cache(kShape, {});
  KvCache::Sequence parent = run(cache, ids(20));
  parent.pages()[1][0] = std::byte{7};
  KvCache::Sequence child;
  ASSERT_TRUE(cache.fork(parent, child));
  EXPECT_EQ(child.length(), 20U);
  EXPECT_EQ(child.pages()[0], parent.pages()[0]);
  EXPECT_NE(child.pages()[1], parent.pages()[1]);
  EXPECT_EQ(child.pages()[1][0], std::byte{7});
  EXPECT_EQ(cache.pages_in_use(), 3U);
}

TEST(KvCache, TwoThatComputeTheSameShareItAfterwards) {
  KvCache cache(kShape, {});
  KvCache::Sequence one = cache.begin(ids(32)), two = cache.begin(ids(32));
  ASSERT_TRUE(cache.reserve(one, 32) && cache.reserve(two, 32));
  cache.commit(one, ids(32));
  cache.commit(two, ids(32));
  EXPECT_EQ(one.pages()[0], two.pages()[0]);
  EXPECT_EQ(one.pages()[1], two.pages()[1]);
  EXPECT_EQ(cache.pages_in_use(), 2U);
}

TEST(KvCache, SharesNothingIfToldSo) {
  KvCache cache(kShape, {.share = false});
  const KvCache::Sequence first = run(cache, ids(40));
  EXPECT_EQ(cache.begin(ids(40)).length(), 0U);
}

// Any order of beginning, growing, forking and ending leaves the books right, and what a sequence finds is
// what was stored for its ids: the first byte of each page is a hash of all ids up to its end.
TEST(KvCache, FindsOnlyWhatIsRight) {
  KvCache cache(kShape, {.max_bytes = 40 * kShape.page_bytes()});
  std::mt19937 random(7);
  struct Live {
    KvCache::Sequence kv;
    std::vector<std::int32_t> ids;
  };
  const auto mark = [](std::span<const std::int32_t> ids) {
    unsigned hash = 1;
    for (const std::int32_t id : ids) hash = hash * 31 + static_cast<unsigned>(id);
    return static_cast<std::byte>(hash >> 3 & 0xFF);
  };
  const auto extend = [&](Live& live, std::size_t count) {
    while (live.ids.size() < count) live.ids.push_back(static_cast<std::int32_t>(random() % 2));
  };
  const auto compute = [&](Live& live) {
    if (!cache.reserve(live.kv, live.ids.size())) return;
    const std::size_t pages = live.kv.pages().size();
    for (std::size_t page = live.kv.length() / 16; page < pages; ++page) {
      const std::size_t end = (page + 1) * 16;
      if (end <= live.ids.size()) live.kv.pages()[page][0] = mark(std::span(live.ids).first(end));
    }
    cache.commit(live.kv, live.ids);
    for (std::size_t page = 0; page < live.ids.size() / 16; ++page) {
      ASSERT_EQ(live.kv.pages()[page][0], mark(std::span(live.ids).first((page + 1) * 16)));
    }
  };
  std::vector<Live> all;
  for (int step = 0; step < 4000; ++step) {
    const unsigned what = random() % 4;
    if (all.empty() || what == 0) {
      Live live;
      extend(live, 1 + random() % 40);
      live.kv = cache.begin(live.ids);
      all.push_back(std::move(live));
      compute(all.back());
    } else if (what == 1) {
      Live& live = all[random() % all.size()];
      extend(live, live.ids.size() + 1 + random() % 20);
      compute(live);
    } else if (what == 2 && all.size() < 12) {
      Live copy;
      const Live& from = all[random() % all.size()];
      copy.ids.assign(from.ids.begin(), from.ids.begin() + static_cast<std::ptrdiff_t>(from.kv.length()));
      if (cache.fork(from.kv, copy.kv)) all.push_back(std::move(copy));
    } else {
      all.erase(all.begin() + static_cast<std::ptrdiff_t>(random() % all.size()));
    }
    if (HasFatalFailure()) return;
  }
  all.clear();
  EXPECT_EQ(cache.pages_in_use(), 0U);
  EXPECT_LE(cache.pages_allocated(), 40U);
}

}  // namespace
}  // namespace kvasir::generation
