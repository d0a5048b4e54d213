// Sampling: equal to transformers' processors, deterministic, and distributed as it should be.
#include "generation/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "base/json.h"
#include "kvasir/error.h"

namespace kvasir::tests {
namespace {

using generation::Sampler;
using generation::SamplingOptions;
using generation::ScoredToken;
using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(std::size_t n, unsigned seed, float spread = 2) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> out(n);
  for (float& one : out) one = normal(random);
  return out;
}

TEST(Logits, ArgmaxTakesTheLowestOfEqualOnes) {
  for (const std::size_t n : {1u, 2u, 15u, 16u, 17u, 40u, 1000u}) {
    std::vector<float> logits(n, -1);
    EXPECT_EQ(generation::argmax(logits), 0);
    logits[n - 1] = 2;
    EXPECT_EQ(generation::argmax(logits), static_cast<int>(n - 1));
    logits[n / 2] = 2;
    EXPECT_EQ(generation::argmax(logits), static_cast<int>(n / 2));
  }
}

TEST(Logits, SumsAreExact) {
  for (const std::size_t n : {1u, 5u, 16u, 33u, 1023u, 1025u, 50'000u}) {
    for (const float scale : {1.0F, 0.5F, 4.0F}) {
      const auto logits = random_logits(n, static_cast<unsigned>(n), 5);
      std::vector<float> exps(n);
      const generation::LogitSums sums = generation::sum_exp(logits, scale, exps);
      const double max = *std::max_element(logits.begin(), logits.end());
      double expected = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const double exact = std::exp((logits[i] - max) * scale);
        expected += exact;
        EXPECT_NEAR(exps[i], exact, exact * 1e-5 + 1e-37);
      }
      EXPECT_EQ(sums.max, static_cast<float>(max));
      EXPECT_NEAR(sums.sum, expected, expected * 1e-6);
    }
  }
}

TEST(Logits, ExpIsCloseEverywhere) {
  for (float x = 0; x > -120; x -= 0.0371F) {
    const float pair[] = {0, x};
    float exps[2];
    generation::sum_exp(pair, 1, exps);
    EXPECT_NEAR(exps[1], std::exp(static_cast<double>(x)), 2e-7 * std::exp(static_cast<double>(x)) + 1.7e-38)
        << x;
  }
}

TEST(Logits, LargestEqualsSorting) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 300; ++trial) {
    std::vector<float> logits(1 + random() % 200);
    for (float& one : logits) one = random() % 9 == 0 ? -kInfinity : static_cast<float>(random() % 20);
    std::vector<ScoredToken> expected;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] > -kInfinity) expected.push_back({static_cast<std::int32_t>(i), logits[i]});
    }
    std::stable_sort(expected.begin(), expected.end(),
                     [](const auto& a, const auto& b) { return a.score > b.score; });
    const std::size_t n = random() % 30;
    if (expected.size() > n) expected.resize(n);
    const auto found = generation::largest(logits, n);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].id, expected[i].id);
      EXPECT_EQ(found[i].score, expected[i].score);
    }
  }
}

TEST(Sampler, LeavesWhatTransformersLeaves) {
  const auto file = base::parse_json_file(std::string(KVASIR_TEST_DATA) + "/sampling/distributions.json");
  const float unit = file.at("unit").to_number<float>();
  ASSERT_EQ(file.at("cases").as_array().size(), 250u);
  for (const auto& one : file.at("cases").as_array()) {
    SCOPED_TRACE(base::json::serialize(one.at("options")));
    SamplingOptions options{.do_sample = true};
    for (const auto& [name, value] : one.at("options").as_object()) {
      if (name == "temperature") options.temperature = value.to_number<float>();
      if (name == "top_k") options.top_k = value.to_number<std::size_t>();
      if (name == "top_p") options.top_p = value.to_number<float>();
      if (name == "min_p") options.min_p = value.to_number<float>();
      if (name == "repetition_penalty") options.repetition_penalty = value.to_number<float>();
    }
    std::vector<float> logits;
    for (const auto& x : one.at("logits").as_array()) logits.push_back(x.to_number<float>() / unit);
    std::vector<std::int32_t> ids, kept;
    for (const auto& x : one.at("ids").as_array()) ids.push_back(x.to_number<std::int32_t>());
    std::vector<float> probabilities;
    for (std::size_t i = 0; i < one.at("kept").as_array().size(); ++i) {
      const float p = one.at("probabilities").as_array()[i].to_number<float>();
      if (p < 1e-37F) continue;  // never drawn; 0 with us
      probabilities.push_back(p);
      kept.push_back(one.at("kept").as_array()[i].to_number<std::int32_t>());
    }
    // Half of the ids as the prompt, half as output: the penalty is on both.
    Sampler sampler(options, std::span(ids).first(ids.size() / 2));
    for (std::size_t i = ids.size() / 2; i < ids.size(); ++i) sampler.accept(ids[i]);
    const auto found = sampler.distribution(logits);
    std::vector<std::int32_t> found_ids;
    for (const ScoredToken& token : found) found_ids.push_back(token.id);
    ASSERT_EQ(found_ids, kept);
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_NEAR(found[i].score, probabilities[i], 2e-5 * probabilities[i] + 1e-8);
    }
  }
}

// The plain definitions of top-k and top-p, for vocabularies that take the fast ways.
TEST(Sampler, LargeVocabulariesEqualThePlainDefinition) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    std::vector<float> logits = random_logits(20'000, seed, seed % 3 == 0 ? 0.5F : 3);
    if (seed % 2 == 0) {
      for (float& one : logits) one = std::round(one * 16) / 16;  // many equal ones
    }
    const float top_p = seed % 5 == 0 ? 0.999F : 0.1F * static_cast<float>(1 + seed % 9);
    const std::size_t top_k = seed % 3 == 1 ? 1000 : seed % 3 == 2 ? 50 : 0;
    const float temperature = 0.3F + 0.2F * static_cast<float>(seed % 5);
    std::vector<std::int32_t> order(logits.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
    const auto logit = [&](std::int32_t id) { return logits[static_cast<std::size_t>(id)]; };
    std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      return logit(a) != logit(b) ? logit(a) > logit(b) : a > b;
    });
    if (top_k > 0) {
      const float lowest = logit(order[top_k - 1]);
      while (logit(order.back()) < lowest) order.pop_back();
    }
    const auto weight = [&](std::int32_t id) {
      return std::exp((static_cast<double>(logit(id)) - logit(order.front())) / temperature);
    };
    double total = 0, above = 0;
    for (const std::int32_t id : order) total += weight(id);
    std::size_t kept = 0;
    while (kept < order.size() && (kept == 0 || above < static_cast<double>(top_p) * total))
      above += weight(order[kept++]);

    Sampler sampler({.do_sample = true, .temperature = temperature, .top_k = top_k, .top_p = top_p}, {});
    std::vector<float> copy = logits;
    const auto found = sampler.distribution(copy);
    EXPECT_NEAR(static_cast<double>(found.size()), static_cast<double>(kept), 1)
        << seed;  // rounding of the sums
    for (const ScoredToken& one : found)
      EXPECT_GE(logit(one.id), logit(order[std::min(kept, order.size() - 1)]));
  }
}

TEST(Sampler, GreedyTakesTheBestAndItsRawLogProbability) {
  std::vector<float> logits = {1, 3, 3, -kInfinity};
  Sampler sampler({.repetition_penalty = 2, .top_logprobs = 3}, std::vector<std::int32_t>{1});
  const auto token = sampler.sample(logits);  // 3 / 2 < 3
  EXPECT_EQ(token.id, 2);
  const double sum = std::log(2 * std::exp(3.0) + std::exp(1.0));
  EXPECT_NEAR(token.logprob, 3 - sum, 1e-6);
  ASSERT_EQ(token.top_logprobs.size(), 3u);
  EXPECT_EQ(token.top_logprobs[0].id, 1);
  EXPECT_EQ(token.top_logprobs[2].id, 0);
  EXPECT_NEAR(token.top_logprobs[2].score, 1 - sum, 1e-6);
}

TEST(Sampler, PenaltiesOfOutput) {
  Sampler sampler({.presence_penalty = 0.5F, .frequency_penalty = 0.25F}, std::vector<std::int32_t>{0, 0});
  sampler.accept(1);
  sampler.accept(1);
  std::vector<float> logits = {1, 1, 1};
  sampler.sample(logits);
  EXPECT_EQ(logits, (std::vector<float>{1, 0, 1}));  // the prompt does not count
}

TEST(Sampler, BiasForbidsAndForces) {
  std::vector<float> logits = {5, 1, 2};
  Sampler sampler({.logit_bias = {{0, -kInfinity}, {1, 10}}}, {});
  EXPECT_EQ(sampler.sample(logits).id, 1);
  logits = {5, 1};
  Sampler all({.logit_bias = {{0, -kInfinity}, {1, -kInfinity}}}, {});
  EXPECT_THROW(all.sample(logits), Error);
  Sampler unknown({.logit_bias = {{7, 1}}}, {});
  EXPECT_THROW(unknown.sample(logits), Error);
}

TEST(Sampler, DrawsAsOftenAsProbable) {
  const std::vector<float> logits = {0, 1, 2, -1, -kInfinity};
  std::vector<double> expected;
  double total = 0;
  for (const float x : logits) expected.push_back(std::exp(x / 0.8)), total += expected.back();
  constexpr int kDraws = 40'000;
  std::map<std::int32_t, int> counts;
  Sampler sampler({.do_sample = true, .temperature = 0.8F, .seed = 9}, {});
  for (int i = 0; i < kDraws; ++i) {
    std::vector<float> copy = logits;
    const auto token = sampler.sample(copy);
    ++counts[token.id];
    sampler.accept(token.id);
  }
  for (std::size_t id = 0; id < logits.size(); ++id) {
    const double p = expected[id] / total, deviation = std::sqrt(p * (1 - p) / kDraws);
    EXPECT_NEAR(counts[static_cast<int>(id)] / double{kDraws}, p, 4 * deviation) << id;
  }
}

TEST(Sampler, SameSeedSameTokens) {
  const auto draw = [](std::uint64_t seed) {
    Sampler sampler({.do_sample = true, .top_p = 0.9F, .seed = seed}, {});
    std::vector<std::int32_t> out;
    for (unsigned i = 0; i < 30; ++i) {
      std::vector<float> logits = random_logits(500, i);
      out.push_back(sampler.sample(logits).id);
      sampler.accept(out.back());
    }
    return out;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

// The numbers themselves are promised: another machine, another version, the same text.
TEST(Sampler, NumbersDoNotChange) {
  // The first number of SplitMix64 from 0.
  EXPECT_DOUBLE_EQ(generation::uniform(0, 0, 0), 0x1.c4415072f63b9p-1);
  EXPECT_DOUBLE_EQ(generation::uniform(42, 7, 1), 0x1.b53d1af09b619p-1);
  double sum = 0;
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    const double x = generation::uniform(3, i, 0);
    ASSERT_TRUE(x >= 0 && x < 1);
    sum += x;
  }
  EXPECT_NEAR(sum / 100'000, 0.5, 0.003);
}

class OnlyOdd : public generation::TokenConstraint {
 public:
  bool allows(std::int32_t id) const override { return id % 2 == 1; }
  void mask(std::span<float> logits) const override {
    for (std::size_t i = 0; i < logits.size(); i += 2) logits[i] = -kInfinity;
    ++masked;
  }
  void accept(std::int32_t) override {}
  mutable int masked = 0;
};

TEST(Sampler, ConstraintsMaskOnlyAfterARefusal) {
  OnlyOdd odd;
  std::vector<float> logits = {1, 5, 2};
  Sampler greedy({}, {});
  EXPECT_EQ(greedy.sample(logits, &odd).id, 1);
  EXPECT_EQ(odd.masked, 0);
  logits = {9, 1, 2, 3};
  EXPECT_EQ(greedy.sample(logits, &odd).id, 3);
  EXPECT_EQ(odd.masked, 1);
  Sampler drawing({.do_sample = true, .seed = 4}, {});
  for (int i = 0; i < 200; ++i) {
    std::vector<float> some = random_logits(20, static_cast<unsigned>(i));
    const auto token = drawing.sample(some, &odd);
    EXPECT_EQ(token.id % 2, 1);
    drawing.accept(token.id);
  }
}

TEST(Sampler, OptionsOutOfRangeAreNamed) {
  const auto message = [](const SamplingOptions& options) {
    try {
      generation::check(options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(message({.temperature = -1}), "option temperature = -1.0 is not in [0.0, 1000000.0]");
  EXPECT_THAT(message({.temperature = nan}), HasSubstr("temperature"));
  EXPECT_EQ(message({.top_p = 1.5F}), "option top_p = 1.5 is not in [0.0, 1.0]");
  EXPECT_THAT(message({.top_p = nan}), HasSubstr("top_p"));
  EXPECT_THAT(message({.min_p = -0.1F}), HasSubstr("min_p"));
  EXPECT_THAT(message({.repetition_penalty = 0}), HasSubstr("repetition_penalty"));
  EXPECT_THAT(message({.presence_penalty = 3}), HasSubstr("presence_penalty"));
  EXPECT_THAT(message({.frequency_penalty = nan}), HasSubstr("frequency_penalty"));
  EXPECT_THAT(message({.logit_bias = {{-1, 0}}}), HasSubstr("logit_bias"));
  EXPECT_THAT(message({.logit_bias = {{1, nan}}}), HasSubstr("logit_bias"));
  EXPECT_EQ(message({}), "no error");
}

TEST(Sampler, RefusesWhatIsNoNumber) {
  Sampler sampler({}, {});
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), kInfinity}) {
    std::vector<float> logits(40, 0);
    logits[17] = bad;
    EXPECT_THROW(sampler.sample(logits), Error);
  }
  std::vector<float> none(40, -kInfinity);
  EXPECT_THROW(sampler.sample(none), Error);
}

}  // namespace
}  // namespace kvasir::tests
