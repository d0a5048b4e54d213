// The engine gives the reference's logits, bit by bit the same however the work is cut.
#include "runtime/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <thread>

#include "encoder_fixture.h"
#include "kvasir/error.h"
#include "test_isa.h"

namespace kvasir::runtime {
namespace {

using testing::HasSubstr;
using tests::Window;

struct Logits {
  std::vector<float> start, end;
  friend bool operator==(const Logits&, const Logits&) = default;
};

struct EngineSetup {
  int threads = 2;
  std::size_t batch_tokens = 1024;
};
Engine load(const std::string& fixture, const EngineSetup& setup = {}) {
  return Engine::load(
      tests::encoder_folder(fixture), models::Task::kQuestionAnswering,
      {.threads = setup.threads, .isa = tests::test_isa(), .batch_tokens = setup.batch_tokens});
}

std::vector<Sequence> sequences_of(const std::vector<Window>& windows) {
  std::vector<Sequence> sequences;
  for (const Window& window : windows) {
    sequences.push_back(
        {.input_ids = window.input_ids, .token_type_ids = window.token_type_ids, .keys = window.keys});
  }
  return sequences;
}

// All logits, checking that they arrive in order.
std::vector<Logits> run_sequences(const Engine& engine, const std::vector<Sequence>& sequences) {
  std::vector<Logits> results;
  engine.run(sequences, [&](std::size_t i, std::span<const float> outputs) {
    EXPECT_EQ(i, results.size());
    models::SpanLogits logits = models::split_span_logits(outputs);
    results.push_back({std::move(logits.start), std::move(logits.end)});
  });
  EXPECT_EQ(results.size(), sequences.size());
  return results;
}
std::vector<Logits> run(const Engine& engine, const std::vector<Window>& windows) {
  return run_sequences(engine, sequences_of(windows));
}

class Fixture : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, Fixture,
                         testing::Values("bert-uncased", "bert-cased", "distilbert", "roberta", "electra",
                                         "albert", "mpnet", "mobilebert", "modernbert", "deberta-v2",
                                         "deberta-v2-conv", "variants/modernbert-biases",
                                         "variants/deberta-wide", "variants/roberta-pad"));

// Unpadded and padded windows together, in one batch, in small batches, alone; with 1, 2 and 3 threads;
// backwards: always the reference's logits, and always the same bits.
TEST_P(Fixture, LogitsDependOnNothingButTheSequence) {
  std::vector<Window> windows = tests::load_windows(GetParam());
  const std::vector<Window> padded = tests::load_padded_windows(GetParam());
  for (std::size_t i = 0; i < padded.size(); i += 5) windows.push_back(padded[i]);  // all: tests/models
  const std::vector<Logits> expected = run(load(GetParam()), windows);
  for (std::size_t i = 0; i < windows.size(); ++i) {
    tests::expect_logits(expected[i].start, windows[i].start, windows[i].name + " start");
    tests::expect_logits(expected[i].end, windows[i].end, windows[i].name + " end");
  }
  for (const EngineSetup& setup :
       {EngineSetup{.threads = 1, .batch_tokens = 300}, EngineSetup{.threads = 1, .batch_tokens = 1},
        EngineSetup{.threads = 2, .batch_tokens = 1'000'000},
        EngineSetup{.threads = 3, .batch_tokens = 500}}) {
    const Engine engine = load(GetParam(), setup);
    EXPECT_EQ(engine.threads(), setup.threads);
    EXPECT_TRUE(run(engine, windows) == expected) << setup.threads << " threads, " << setup.batch_tokens;
  }
  std::ranges::reverse(windows);
  std::vector<Logits> backwards = run(load(GetParam()), windows);
  std::ranges::reverse(backwards);
  EXPECT_TRUE(backwards == expected);
}

// Some windows want all their logits, some those of a part, some of what has the first token in it: these are
// the same bits as ever, together and alone. BERT leaves the others out.
TEST_P(Fixture, WantedLogitsAreTheSame) {
  const std::vector<Window> windows = tests::load_windows(GetParam());
  const Engine engine = load(GetParam());
  const std::vector<Logits> expected = run(engine, windows);
  std::vector<Sequence> sequences = sequences_of(windows);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const std::size_t length = sequences[i].input_ids.size();
    if (i % 3 == 1) sequences[i].wanted = {.begin = length / 3, .end = length - 1};
    if (i % 3 == 2) sequences[i].wanted = {.begin = 0, .end = (length + 1) / 2};
  }
  const auto check = [&](std::size_t i, const Logits& logits) {
    const Sequence::Tokens wanted = sequences[i].wanted;
    for (std::size_t token = 0; token < logits.start.size(); ++token) {
      if (token == 0 || wanted.empty() || (token >= wanted.begin && token < wanted.end)) {
        EXPECT_EQ(logits.start[token], expected[i].start[token]) << windows[i].name << " token " << token;
        EXPECT_EQ(logits.end[token], expected[i].end[token]) << windows[i].name << " token " << token;
      } else if (std::string(GetParam()) == "bert-uncased") {
        EXPECT_EQ(logits.start[token], models::kUnwantedLogit);
        EXPECT_EQ(logits.end[token], models::kUnwantedLogit);
      }
    }
  };
  const std::vector<Logits> together = run_sequences(engine, sequences);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    check(i, together[i]);
    if (i < 6) check(i, run_sequences(engine, {sequences[i]}).front());
  }
}

// Sequences of every length, cut at odd places, so that row chunks begin and end anywhere.
TEST(Engine, EveryLength) {
  const Engine engine = load("bert-uncased");
  std::vector<Window> windows;
  for (std::size_t length = 1; length <= 128; ++length) {
    Window window;
    for (std::size_t i = 0; i < length; ++i) {
      window.input_ids.push_back(static_cast<std::int32_t>((i * 37 + length * 101) % 3000));
    }
    window.token_type_ids.assign(length, static_cast<std::int32_t>(length % 2));
    window.keys = length % 3 == 0 ? (length + 1) / 2 : length;
    windows.push_back(std::move(window));
  }
  const std::vector<Logits> together = run(engine, windows);
  for (std::size_t i = 0; i < windows.size(); ++i) {
    EXPECT_TRUE(run(engine, {windows[i]}).front() == together[i]) << "length " << i + 1;
  }
}

TEST(Engine, AbsentTokenTypesAreZero) {
  const Engine engine = load("bert-cased");
  Window with{.input_ids = {5, 6, 7}, .token_type_ids = {0, 0, 0}};
  Window without{.input_ids = {5, 6, 7}};
  EXPECT_EQ(run(engine, {with}), run(engine, {without}));
  EXPECT_EQ(run(engine, {without, with})[1], run(engine, {with})[0]);
}

TEST(Engine, NothingToDo) {
  EXPECT_TRUE(run(load("bert-cased"), {}).empty());
}

std::string error_of_sequences(const Engine& engine, const std::vector<Sequence>& sequences) {
  try {
    engine.run(sequences, [](std::size_t, auto) { FAIL() << "no result is due"; });
  } catch (const Error& error) {
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}
std::string error_of(const Engine& engine, const std::vector<Window>& windows) {
  return error_of_sequences(engine, sequences_of(windows));
}

TEST(Engine, RefusesBadSequences) {
  const Engine engine = load("bert-uncased");
  const Window good{.input_ids = {1, 2, 3}};
  const auto error_with = [&](const Window& bad) { return error_of(engine, {good, bad}); };
  EXPECT_THAT(error_with({}), HasSubstr("invalid_argument: sequence 1: it has no tokens"));
  EXPECT_THAT(error_with({.input_ids = std::vector<std::int32_t>(129)}),
              HasSubstr("it has 129 tokens, and the model takes 128"));
  EXPECT_THAT(error_with({.input_ids = {1, 3000}}),
              HasSubstr("token id 3000 at position 1 is out of range [0, 3000)"));
  EXPECT_THAT(error_with({.input_ids = {-1}}), HasSubstr("token id -1"));
  EXPECT_THAT(error_with({.input_ids = {1}, .token_type_ids = {2}}), HasSubstr("token type 2"));
  EXPECT_THAT(error_with({.input_ids = {1}, .token_type_ids = {-1}}), HasSubstr("token type -1"));
  EXPECT_THAT(error_with({.input_ids = {1}, .token_type_ids = {0, 0}}),
              HasSubstr("2 token types for 1 tokens"));
  EXPECT_THAT(error_with({.input_ids = {1}, .keys = 2}), HasSubstr("2 keys for 1 tokens"));
  std::vector<Sequence> part{{.input_ids = good.input_ids, .token_type_ids = {}}};
  part[0].wanted = {.begin = 1, .end = 4};
  EXPECT_THAT(error_of_sequences(engine, part), HasSubstr("sequence 0: it has no tokens 1 to 4"));
  part[0].wanted = {.begin = 2, .end = 1};
  EXPECT_THAT(error_of_sequences(engine, part), HasSubstr("it has no tokens 2 to 1"));
}

TEST(Engine, FamiliesWithoutTokenTypesIgnoreThem) {
  const Engine engine = load("distilbert");
  EXPECT_EQ(run(engine, {{.input_ids = {1, 2}, .token_type_ids = {7, -7}}}),
            run(engine, {{.input_ids = {1, 2}}}));
}

TEST(Engine, CancelsBetweenBatches) {
  const Engine engine = load("bert-uncased", {.batch_tokens = 3});
  const std::vector<Window> windows(5, Window{.input_ids = {1, 2, 3}});
  std::atomic<bool> cancel{false};
  std::size_t delivered = 0;
  const auto consume = [&](std::size_t, auto) { cancel = ++delivered == 2; };
  try {
    engine.run(sequences_of(windows), consume, &cancel);
    FAIL() << "not cancelled";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
    EXPECT_THAT(error.what(), HasSubstr("cancelled after 2 of 5 windows"));
  }
  EXPECT_EQ(delivered, 2u);
}

TEST(Engine, WhatConsumeThrowsPassesThrough) {
  const Engine engine = load("bert-uncased");
  const std::vector<Window> windows{{.input_ids = {1, 2, 3}}};
  EXPECT_THROW(engine.run(sequences_of(windows), [](std::size_t, auto) { throw std::runtime_error("x"); }),
               std::runtime_error);
  EXPECT_EQ(run(engine, windows).size(), 1u);  // and leaves the engine usable
}

TEST(Engine, ConcurrentCallers) {
  std::vector<Window> windows = tests::load_windows("bert-cased");
  windows.resize(30);
  const Engine engine = load("bert-cased", {.batch_tokens = 200});
  const std::vector<Logits> expected = run(engine, windows);
  std::vector<std::vector<Logits>> results(4);
  {
    std::vector<std::jthread> callers;
    for (std::vector<Logits>& result : results) {
      callers.emplace_back([&] { result = run(engine, windows); });
    }
  }
  for (const std::vector<Logits>& result : results) EXPECT_TRUE(result == expected);
}

// One window, a few, and hundreds at the same time, on as many cores as there are callers, more and fewer:
// each team of threads has memory of its own.
TEST(Engine, MixedCallers) {
  std::vector<Window> windows = tests::load_windows("bert-cased");
  windows.resize(48);
  const std::vector<Logits> expected = run(load("bert-cased"), windows);
  for (const int threads : {1, 2, 3, 6}) {
    const Engine engine = load("bert-cased", {.threads = threads, .batch_tokens = 500});
    EXPECT_TRUE(run(engine, windows) == expected);  // alone: batches on each core
    std::atomic<int> wrong{0};
    std::vector<std::jthread> callers;
    for (const std::size_t count : {48U, 1U, 3U}) {
      callers.emplace_back([&, count] {
        for (std::size_t first = 0; first + count <= 48; first += count) {
          const std::vector<Window> some(windows.begin() + static_cast<std::ptrdiff_t>(first),
                                         windows.begin() + static_cast<std::ptrdiff_t>(first + count));
          const std::vector<Logits> got = run(engine, some);
          if (!std::ranges::equal(got, std::span(expected).subspan(first, count))) ++wrong;
        }
      });
    }
    callers.clear();
    EXPECT_EQ(wrong, 0) << threads << " threads";
  }
}

// What is done with logits may ask the engine again, or wait for somebody who does.
TEST(Engine, ConsumersMayAskAgain) {
  const Engine engine = load("bert-uncased");
  const std::vector<Window> one{{.input_ids = {1, 2, 3}}};
  const std::vector<Logits> expected = run(engine, one);
  for (const std::size_t count : {1U, 100U}) {
    const std::vector<Window> windows(count, Window{.input_ids = std::vector<std::int32_t>(100, 7)});
    std::size_t done = 0;
    engine.run(sequences_of(windows), [&](std::size_t i, auto) {
      EXPECT_EQ(i, done++);
      if (i % 50 != 0) return;
      EXPECT_EQ(run(engine, one), expected);
      std::jthread other([&] { EXPECT_EQ(run(engine, one), expected); });
      other.join();
    });
    EXPECT_EQ(done, count);
  }
}

// Also on the threads that have batches of their own, and from the consumer between them.
TEST(Engine, StopsOnEachCore) {
  const Engine engine = load("bert-uncased");
  const std::vector<Window> windows(300, Window{.input_ids = std::vector<std::int32_t>(128, 7)});
  std::atomic<bool> cancel{false};
  std::size_t delivered = 0;
  const auto stop = [&](std::size_t, auto) { cancel = ++delivered >= 10; };
  EXPECT_THROW(engine.run(sequences_of(windows), stop, &cancel), Error);
  EXPECT_GE(delivered, 10U);
  EXPECT_LT(delivered, 150U);
  delivered = 0;
  const auto fail = [&](std::size_t, auto) {
    if (++delivered == 10) throw std::runtime_error("full");
  };
  EXPECT_THROW(engine.run(sequences_of(windows), fail), std::runtime_error);
  EXPECT_EQ(delivered, 10U);
  EXPECT_EQ(run(engine, windows).size(), windows.size());  // and leaves the engine usable
}

// A caller with one window does not wait for another's hundreds: they take turns, batch by batch.
TEST(Engine, CallersTakeTurns) {
  const Engine engine = load("bert-uncased", {.batch_tokens = 128});
  const std::vector<Window> many(100, Window{.input_ids = std::vector<std::int32_t>(128, 7)});
  const std::vector<Window> one{{.input_ids = {1, 2, 3}}};
  std::atomic<std::size_t> done{0};
  std::jthread busy([&] { engine.run(sequences_of(many), [&](std::size_t, auto) { ++done; }); });
  while (done == 0) std::this_thread::yield();
  run(engine, one);
  EXPECT_LT(done, many.size());
}

TEST(Engine, RefusesBadOptions) {
  EXPECT_THROW(load("bert-uncased", {.threads = -1}), Error);
  EXPECT_THROW(Engine::load("/nonexistent", models::Task::kQuestionAnswering), Error);
}

TEST(Engine, TellsWhatItRunsOn) {
  const Engine engine = load("bert-uncased", {.threads = 3});
  EXPECT_EQ(engine.isa(), kernels::kernels_for(tests::test_isa()).isa);
  EXPECT_EQ(engine.facts().family, "bert");
  EXPECT_EQ(load("bert-uncased", {.threads = 0}).threads(), base::usable_cores());
}

}  // namespace
}  // namespace kvasir::runtime
