// The order of training: what each epoch shows, in steps of which size, and that it is always the same.
#include "train/batch_sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "kvasir/error.h"

namespace kvasir::train {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::Ge;
using testing::Le;

using Batches = std::vector<std::vector<std::uint32_t>>;

std::vector<std::uint32_t> flat(const Batches& batches) {
  std::vector<std::uint32_t> all;
  for (const auto& batch : batches) all.insert(all.end(), batch.begin(), batch.end());
  return all;
}

// How often each window is in an epoch.
std::map<std::uint32_t, std::size_t> counts(const Batches& batches) {
  std::map<std::uint32_t, std::size_t> times;
  for (const std::uint32_t window : flat(batches)) ++times[window];
  return times;
}

// Lengths from 16 to 384 in no order.
std::vector<std::uint32_t> some_lengths(std::size_t count) {
  std::vector<std::uint32_t> lengths;
  for (std::size_t i = 0; i < count; ++i)
    lengths.push_back(16 + static_cast<std::uint32_t>(i * 2654435761U % 369));
  return lengths;
}

std::size_t tokens_of(const std::vector<std::uint32_t>& batch, const std::vector<std::uint32_t>& lengths) {
  return std::accumulate(batch.begin(), batch.end(), std::size_t{0},
                         [&](std::size_t sum, std::uint32_t window) { return sum + lengths[window]; });
}

TEST(BatchSampler, ShowsEachWindowOnceInAnEpoch) {
  const std::vector<std::uint32_t> lengths = some_lengths(1003);
  for (const bool group : {false, true}) {
    const BatchSampler sampler({.lengths = lengths, .files = {}, .weights = {}},
                               {.batch_size = 10, .group_by_length = group});
    EXPECT_EQ(sampler.windows_per_epoch(), 1003);
    EXPECT_EQ(sampler.steps_per_epoch(0), 101);
    const Batches batches = sampler.epoch(0);
    ASSERT_EQ(batches.size(), 101);
    for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(batches[i].size(), 10);
    EXPECT_EQ(batches.back().size(), 3);
    std::vector<std::uint32_t> all = flat(batches);
    EXPECT_FALSE(std::ranges::is_sorted(all));
    std::ranges::sort(all);
    for (std::uint32_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], i);
  }
}

TEST(BatchSampler, HasAnOrderForEachSeedAndEpoch) {
  const std::vector<std::uint32_t> lengths = some_lengths(200);
  const BatchSampler::Windows windows{.lengths = lengths, .files = {}, .weights = {}};
  const BatchSampler sampler(windows, {.data_seed = 1});
  std::set<Batches> orders;
  for (std::size_t epoch = 0; epoch < 4; ++epoch) {
    orders.insert(sampler.epoch(epoch));
    EXPECT_EQ(sampler.epoch(epoch), BatchSampler(windows, {.data_seed = 1}).epoch(epoch));
  }
  orders.insert(BatchSampler(windows, {.data_seed = 2}).epoch(0));
  EXPECT_EQ(orders.size(), 5);
}

TEST(BatchSampler, KeepsItsOrderFromReleaseToRelease) {
  // Training that is resumed by a later program must go on as it began.
  const std::vector<std::uint32_t> lengths = some_lengths(12), files = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1};
  const std::vector<double> weights = {0.5, 1.5};
  const BatchSampler sampler({.lengths = lengths, .files = files, .weights = weights},
                             {.data_seed = 42, .batch_size = 4, .group_by_length = true});
  EXPECT_EQ(sampler.epoch(0), (Batches{{1, 8, 8, 2}, {9, 3, 10, 10}, {11, 6}}));
  EXPECT_EQ(sampler.epoch(1), (Batches{{10, 10, 11, 11}, {8, 2, 9, 3}, {5, 0}}));
}

TEST(BatchSampler, ShufflesEvenly) {
  // Each of 6 windows comes first about 1000 times in 6000 epochs: 5 standard deviations are 144.
  const std::vector<std::uint32_t> lengths(6, 1);
  const BatchSampler sampler({.lengths = lengths, .files = {}, .weights = {}}, {.batch_size = 1});
  std::vector<int> first(6), last(6);
  for (std::size_t epoch = 0; epoch < 6000; ++epoch) {
    const Batches batches = sampler.epoch(epoch);
    ++first[batches.front()[0]];
    ++last[batches.back()[0]];
  }
  EXPECT_THAT(first, Each(testing::AllOf(Ge(856), Le(1144))));
  EXPECT_THAT(last, Each(testing::AllOf(Ge(856), Le(1144))));
}

TEST(BatchSampler, WeighsFiles) {
  const std::vector<std::uint32_t> lengths = some_lengths(300);
  std::vector<std::uint32_t> files(300);
  for (std::uint32_t i = 0; i < 300; ++i) files[i] = i / 100;
  const std::vector<double> weights = {0.25, 1, 2.333};
  const BatchSampler sampler({.lengths = lengths, .files = files, .weights = weights}, {.batch_size = 7});
  EXPECT_EQ(sampler.windows_per_epoch(), 25 + 100 + 233);
  std::vector<std::set<std::uint32_t>> subsets(2);
  for (std::size_t epoch = 0; epoch < 2; ++epoch) {
    std::vector<std::size_t> of_file(3), thrice(3);
    for (const auto& [window, times] : counts(sampler.epoch(epoch))) {
      const std::uint32_t file = files[window];
      of_file[file] += times;
      thrice[file] += times == 3 ? 1 : 0;
      if (file == 0) subsets[epoch].insert(window);
      EXPECT_TRUE(file < 2 ? times == 1 : times == 2 || times == 3) << times;
    }
    EXPECT_THAT(of_file, ElementsAre(25, 100, 233));
    EXPECT_EQ(thrice[2], 33);
  }
  EXPECT_EQ(subsets[0].size(), 25);
  EXPECT_NE(subsets[0], subsets[1]);
}

TEST(BatchSampler, FillsStepsWithTokens) {
  std::vector<std::uint32_t> lengths = some_lengths(500);
  lengths[77] = 5000;  // more than a step may have: a step of its own
  const BatchSampler::Windows windows{.lengths = lengths, .files = {}, .weights = {}};
  for (const bool group : {false, true}) {
    const BatchSampler sampler(windows, {.batch_size = 0, .batch_tokens = 2000, .group_by_length = group});
    const Batches batches = sampler.epoch(3);
    EXPECT_EQ(sampler.steps_per_epoch(3), batches.size());
    EXPECT_EQ(flat(batches).size(), 500);
    EXPECT_EQ(counts(batches).size(), 500);
    std::size_t full = 0;
    for (const auto& batch : batches) {
      const std::size_t tokens = tokens_of(batch, lengths);
      EXPECT_TRUE(tokens <= 2000 || (batch.size() == 1 && batch[0] == 77));
      full += tokens > 2000 - 384 ? 1 : 0;
    }
    // Only the last, and the one before the long window, may have room for another.
    EXPECT_GE(full + 2, batches.size());
  }
}

TEST(BatchSampler, GroupsByLength) {
  const std::vector<std::uint32_t> lengths = some_lengths(4000);
  const auto spread = [&](bool group, std::size_t tokens) {
    const BatchSampler sampler({.lengths = lengths, .files = {}, .weights = {}},
                               {.batch_size = 8, .batch_tokens = tokens, .group_by_length = group});
    std::size_t sum = 0;
    for (const auto& batch : sampler.epoch(0)) {
      const auto [low, high] =
          std::ranges::minmax(batch, {}, [&](std::uint32_t window) { return lengths[window]; });
      sum += lengths[high] - lengths[low];
    }
    return sum / sampler.steps_per_epoch(0);
  };
  for (const std::size_t tokens : {std::size_t{0}, std::size_t{1600}}) {
    EXPECT_GT(spread(false, tokens), 200);
    EXPECT_LT(spread(true, tokens), 20);
  }
  // Steps of long and of short windows come in no order.
  const BatchSampler sampler({.lengths = lengths, .files = {}, .weights = {}}, {.group_by_length = true});
  std::vector<std::size_t> totals;
  for (const auto& batch : sampler.epoch(0)) totals.push_back(tokens_of(batch, lengths));
  std::size_t rises = 0;
  for (std::size_t i = 1; i < totals.size(); ++i) rises += totals[i] > totals[i - 1] ? 1 : 0;
  EXPECT_GT(rises, totals.size() / 3);
  EXPECT_LT(rises, totals.size() * 2 / 3);
}

TEST(BatchSampler, RefusesNothing) {
  const std::vector<std::uint32_t> lengths = {5};
  const std::vector<double> tiny = {0.1};
  EXPECT_THROW(BatchSampler({.lengths = {}, .files = {}, .weights = {}}, {}), Error);
  EXPECT_THROW(BatchSampler({.lengths = lengths, .files = {}, .weights = {}}, {.batch_size = 0}), Error);
  EXPECT_THROW(BatchSampler({.lengths = lengths, .files = {}, .weights = tiny}, {}), Error);
  EXPECT_EQ(BatchSampler({.lengths = lengths, .files = {}, .weights = {}}, {.batch_size = SIZE_MAX}).epoch(0),
            (Batches{{0}}));
}

}  // namespace
}  // namespace kvasir::train
