// The kvasir decoder against the definition in its head, summed without any cleverness.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>
#include <random>

#include "kvasir/error.h"
#include "qa/span_decoder.h"
#include "qa/words.h"

namespace kvasir::qa {
namespace {

constexpr std::int32_t kCls = 101, kSep = 102, kWord = 7;

// A context of letters, each a token and, if spaced, a word; windows over it with random logits.
struct Scene {
  std::string text;
  text::TokenizedText tokens;
  std::vector<text::ContextSlice> slices;
  std::vector<text::Encoding> encodings;
  std::vector<std::vector<float>> start, end;

  Scene(std::size_t count, std::size_t room, std::size_t stride, unsigned seed, double scale,
        std::size_t letters_per_word = 1) {
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0 && i % letters_per_word == 0) text += ' ';
      const auto at = static_cast<std::uint32_t>(text.size());
      text += static_cast<char>('a' + i % 26);
      tokens.ids.push_back(kWord);
      tokens.offsets.push_back({at, at + 1});
      tokens.word_ids.push_back(static_cast<std::int32_t>(i / letters_per_word));
    }
    for (std::size_t begin = 0;; begin += room - stride) {
      slices.push_back({begin, std::min(begin + room, count)});
      if (begin + room >= count) break;
    }
    std::mt19937 random(seed);
    std::normal_distribution<double> normal(0, scale);
    for (const text::ContextSlice& slice : slices) {
      text::Encoding& e = encodings.emplace_back();
      const auto special = [&](std::int32_t id) {
        e.ids.push_back(id);
        e.offsets.push_back({});
        e.word_ids.push_back(-1);
        e.sequence_ids.push_back(-1);
        e.type_ids.push_back(0);
      };
      special(kCls);
      special(kSep);
      for (std::size_t i = slice.begin; i < slice.end; ++i) {
        e.ids.push_back(tokens.ids[i]);
        e.offsets.push_back(tokens.offsets[i]);
        e.word_ids.push_back(tokens.word_ids[i]);
        e.sequence_ids.push_back(1);
        e.type_ids.push_back(1);
      }
      special(kSep);
      auto& s = start.emplace_back(e.size());
      auto& t = end.emplace_back(e.size());
      for (float& v : s) v = static_cast<float>(normal(random));
      for (float& v : t) v = static_cast<float>(normal(random));
    }
  }

  Window window(std::size_t k, std::size_t context_index) const {
    return {.encoding = &encodings[k],
            .context_index = context_index,
            .slice = slices[k],
            .share = span_share(slices, k),
            .context_position = 2,
            .cls_id = kCls,
            .question = "",
            .start_logits = start[k],
            .end_logits = end[k]};
  }

  double margin(std::size_t k, std::size_t i, std::size_t j) const {
    const auto d = [](float x) { return static_cast<double>(x); };
    return d(start[k][2 + i - slices[k].begin]) - d(start[k][0]) + d(end[k][2 + j - slices[k].begin]) -
           d(end[k][0]);
  }

  // The window that shows the most text around tokens i to j, the first of equals; -1 if none shows them.
  int owner(std::size_t i, std::size_t j) const {
    int best = -1;
    std::size_t most = 0;
    for (std::size_t k = 0; k < slices.size(); ++k) {
      if (i < slices[k].begin || j >= slices[k].end) continue;
      const std::size_t around = std::min(i - slices[k].begin, slices[k].end - 1 - j);
      // Text that is missing at the text's own ends is missing everywhere.
      if (best < 0 || around > most) {
        best = static_cast<int>(k);
        most = around;
      }
    }
    return best;
  }
};

Decoded decode(std::span<const Scene> scenes, const AskOptions& options,
               const Calibration& calibration = {}) {
  std::vector<Context> contexts;
  for (const Scene& scene : scenes) contexts.push_back({scene.text, &scene.tokens});
  const auto decoder = make_decoder(contexts, options, calibration);
  for (std::size_t c = 0; c < scenes.size(); ++c) {
    for (std::size_t k = 0; k < scenes[c].slices.size(); ++k) decoder->add(scenes[c].window(k, c));
  }
  return decoder->finish();
}

using Place = std::array<std::size_t, 3>;  // context, bytes

Place place_of(const DecodedAnswer& answer) {
  return {answer.context_index, answer.byte_begin, answer.byte_end};
}

struct Exact {
  double no_answer = 0;
  std::map<Place, double> answers;
};

Exact exact(std::span<const Scene> scenes, std::size_t max_answer_len, const Calibration& calibration) {
  long double z = std::exp(static_cast<long double>(calibration.no_answer_bias));
  std::map<Place, long double> weights;
  for (std::size_t c = 0; c < scenes.size(); ++c) {
    const Scene& scene = scenes[c];
    for (std::size_t i = 0; i < scene.tokens.size(); ++i) {
      for (std::size_t j = i; j < std::min(i + max_answer_len, scene.tokens.size()); ++j) {
        const int k = scene.owner(i, j);
        if (k < 0 || scene.tokens.ids[i] == kCls || scene.tokens.ids[j] == kCls) continue;
        const long double weight = std::exp(static_cast<long double>(
            scene.margin(static_cast<std::size_t>(k), i, j) / calibration.temperature));
        z += weight;
        const TextRange bytes =
            widen_to_words(scene.text, {scene.tokens.offsets[i].begin, scene.tokens.offsets[j].end});
        weights[{c, bytes.begin, bytes.end}] += weight;
      }
    }
  }
  Exact result;
  result.no_answer = static_cast<double>(std::exp(static_cast<long double>(calibration.no_answer_bias)) / z);
  for (const auto& [place, weight] : weights) result.answers[place] = static_cast<double>(weight / z);
  return result;
}

TEST(DecodeKvasir, ProbabilitiesEqualTheDefinition) {
  const Calibration calibration{.temperature = 1.7, .no_answer_bias = 2.5};
  AskOptions options;
  options.top_k = 20;
  options.max_answer_len = 7;
  for (const std::size_t stride : {0U, 3U, 8U, 15U}) {
    const std::vector<Scene> scenes{Scene(50, 20, stride, 1, 4), Scene(20, 20, stride, 2, 4),
                                    Scene(33, 20, stride, 3, 4)};
    const Exact expected = exact(scenes, 7, calibration);
    const Decoded decoded = decode(scenes, options, calibration);
    EXPECT_NEAR(decoded.no_answer_score, expected.no_answer, 1e-12);
    ASSERT_EQ(decoded.answers.size(), 20U);
    for (const DecodedAnswer& answer : decoded.answers) {
      EXPECT_NEAR(answer.score,
                  expected.answers.at({answer.context_index, answer.byte_begin, answer.byte_end}), 1e-12);
    }
    // The best of all, and the best beside it.
    const auto less = [](const auto& a, const auto& b) { return a.second < b.second; };
    const auto best = std::max_element(expected.answers.begin(), expected.answers.end(), less)->first;
    EXPECT_EQ(place_of(decoded.answers[0]), best);
    std::map<Place, double> beside = expected.answers;
    std::erase_if(beside, [&](const auto& answer) {
      const Place& place = answer.first;
      return place[0] == best[0] && place[1] < best[2] && best[1] < place[2];
    });
    EXPECT_EQ(place_of(decoded.answers[1]), std::max_element(beside.begin(), beside.end(), less)->first);
  }
}

TEST(DecodeKvasir, EverySpanThatAWindowShowsIsCountedOnce) {
  for (const std::size_t stride : {0U, 1U, 2U, 5U, 7U, 9U}) {
    for (const std::size_t count : {1U, 9U, 10U, 11U, 12U, 19U, 25U, 40U}) {
      const Scene scene(count, 10, stride, 1, 1);
      for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t j = i; j < count; ++j) {
          int owners = 0, owner = -1;
          for (std::size_t k = 0; k < scene.slices.size(); ++k) {
            const SpanShare share = span_share(scene.slices, k);
            if (i < scene.slices[k].begin || j >= scene.slices[k].end) continue;
            if (i + j < share.begin || i + j >= share.end) continue;
            ++owners;
            owner = static_cast<int>(k);
          }
          EXPECT_EQ(owners, scene.owner(i, j) >= 0 ? 1 : 0);
          EXPECT_EQ(owner, scene.owner(i, j)) << count << " " << stride << " " << i << " " << j;
        }
      }
    }
  }
}

TEST(DecodeKvasir, SpansOfOneWordAddUp) {
  const std::vector<Scene> scenes{Scene(30, 40, 8, 5, 1, 3)};
  const Exact expected = exact(scenes, 30, {});
  AskOptions options;
  options.top_k = 5;
  const Decoded decoded = decode(scenes, options);
  for (const DecodedAnswer& answer : decoded.answers) {
    EXPECT_NEAR(answer.score, expected.answers.at({0, answer.byte_begin, answer.byte_end}), 1e-12);
    EXPECT_EQ(answer.byte_begin % 4, 0U);
    EXPECT_EQ(answer.byte_end % 4, 3U);
  }
}

TEST(DecodeKvasir, ExtremeLogitsStayFinite) {
  for (const double scale : {1e3, 1e6, 1e30}) {
    const std::vector<Scene> scenes{Scene(60, 20, 5, 9, scale), Scene(20, 20, 5, 10, scale)};
    AskOptions options;
    options.top_k = 10;
    options.max_answer_len = 3;  // the best start and the best end are no span
    options.handle_impossible_answer = true;
    const Decoded decoded = decode(scenes, options);
    ASSERT_GT(decoded.answers.size(), 1U);
    double sum = 0;
    for (const DecodedAnswer& answer : decoded.answers) {
      ASSERT_TRUE(std::isfinite(answer.score));
      sum += answer.score;
    }
    EXPECT_NEAR(sum, 1, 1e-9);
    EXPECT_NEAR(decoded.answers[0].score, 1, 1e-9);
  }
}

TEST(DecodeKvasir, UnderflowingProductsAreSummedOneByOne) {
  // Start far behind end: every product of exponentials of a valid span underflows, their sum must not.
  std::vector<Scene> scenes{Scene(20, 20, 0, 4, 0.5)};
  scenes[0].end[0][2] += 2000;
  scenes[0].start[0][2 + 19] += 2000;
  scenes[0].start[0][0] += 1990;  // [CLS], so that margins are moderate
  AskOptions options;
  options.max_answer_len = 5;
  const Exact expected = exact(scenes, 5, {});
  const Decoded decoded = decode(scenes, options);
  EXPECT_NEAR(decoded.no_answer_score, expected.no_answer, 1e-12);
}

TEST(DecodeKvasir, NoAnswerTakesItsRank) {
  const std::vector<Scene> scenes{Scene(300, 40, 8, 5, 2)};
  AskOptions options;
  options.top_k = 6;
  const Decoded without = decode(scenes, options);
  options.handle_impossible_answer = true;
  for (const double bias : {-50.0, 0.0, 3.0, 6.0, 50.0}) {
    const Decoded with = decode(scenes, options, {.no_answer_bias = bias});
    ASSERT_EQ(with.answers.size(), 6U);
    std::size_t next = 0, empty = 0;
    for (std::size_t a = 0; a < with.answers.size(); ++a) {
      const DecodedAnswer& answer = with.answers[a];
      if (a > 0) {
        EXPECT_LE(answer.score, with.answers[a - 1].score);
      }
      if (answer.byte_begin == answer.byte_end) {
        ++empty;
        EXPECT_EQ(answer.score, with.no_answer_score);
      } else {
        EXPECT_EQ(answer.byte_begin, without.answers[next].byte_begin);
        EXPECT_EQ(answer.byte_end, without.answers[next].byte_end);
        ++next;
      }
    }
    EXPECT_LE(empty, 1U);
    if (bias > 40) {
      EXPECT_EQ(with.answers[0].byte_end, 0U);
    }
    if (bias < -40) {
      EXPECT_EQ(empty, 0U);
    }
  }
}

TEST(DecodeKvasir, ALiteralClsIsNoAnswer) {
  std::vector<Scene> scenes{Scene(10, 20, 0, 4, 1)};
  scenes[0].tokens.ids[4] = scenes[0].encodings[0].ids[2 + 4] = kCls;
  scenes[0].start[0][2 + 4] = scenes[0].end[0][2 + 4] = 50;
  AskOptions options;
  options.top_k = 100;
  const Exact expected = exact(scenes, 30, {});
  const Decoded decoded = decode(scenes, options);
  EXPECT_NEAR(decoded.no_answer_score, expected.no_answer, 1e-12);
  for (const DecodedAnswer& answer : decoded.answers) {
    EXPECT_NE(answer.byte_begin, 8U);
    EXPECT_NE(answer.byte_end, 9U);
  }
}

TEST(DecodeKvasir, NothingToRead) {
  AskOptions options;
  EXPECT_TRUE(decode({}, options).answers.empty());
  EXPECT_EQ(decode({}, options).no_answer_score, 1);
  const std::vector<Scene> blank{Scene(0, 20, 0, 4, 1)};
  EXPECT_TRUE(decode(blank, options).answers.empty());
  EXPECT_EQ(decode(blank, options).no_answer_score, 1);
  options.handle_impossible_answer = true;
  ASSERT_EQ(decode(blank, options).answers.size(), 1U);
  EXPECT_EQ(decode(blank, options).answers[0].score, 1);
}

// Many windows: memory stays bounded by dropping the least probable answers, never the best.
TEST(DecodeKvasir, LongTextsKeepTheBest) {
  std::vector<Scene> scenes{Scene(40000, 100, 20, 11, 1)};
  scenes[0].start[3][50] += 12;
  scenes[0].end[3][51] += 12;
  AskOptions options;
  options.top_k = 1;
  const Decoded decoded = decode(scenes, options);
  ASSERT_EQ(decoded.answers.size(), 1U);
  EXPECT_EQ(decoded.answers[0].byte_begin, 2 * (3 * 80 + 48));
  EXPECT_EQ(decoded.answers[0].byte_end, 2 * (3 * 80 + 49) + 1);
  options.top_k = 3000;
  const Decoded many = decode(scenes, options);
  EXPECT_GT(many.answers.size(), 1000U);
  EXPECT_EQ(many.answers[0].score, decoded.answers[0].score);
}

TEST(Decoders, RefuseOptionsOutOfRange) {
  const auto message = [](const AskOptions& options) -> std::string {
    try {
      make_decoder({}, options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return error.what();
    }
    return "";
  };
  for (const Decode decode : {Decode::kKvasir, Decode::kPipeline, Decode::kSquad}) {
    AskOptions options;
    options.decode = decode;
    options.top_k = 0;
    EXPECT_EQ(message(options), "top_k parameter should be >= 1 (got 0)");
    options.top_k = 1;
    options.max_answer_len = 0;
    EXPECT_EQ(message(options), "max_answer_len parameter should be >= 1 (got 0)");
    options.max_answer_len = 1;
    options.n_best_size = -1;
    EXPECT_EQ(message(options), "n_best_size parameter should be >= 1 (got -1)");
  }
}

}  // namespace
}  // namespace kvasir::qa
