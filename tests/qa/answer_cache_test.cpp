// The cache of results: never a wrong one, never more memory than was given, the same bits as without it.
#include "qa/answer_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "qa/batch_reader.h"
#include "qa/reader_impl.h"
#include "qa_fixtures.h"
#include "test_isa.h"

namespace kvasir::qa {
namespace {

constexpr std::size_t kPlenty = std::size_t{1} << 20;

std::unique_ptr<PreparedText> text_of(const std::string& text) {
  auto prepared = std::make_unique<PreparedText>();
  prepared->text = text;
  prepared->hash = std::hash<std::string>()(text);
  return prepared;
}

// A key that owns what it is made of.
struct Asked {
  std::string question;
  std::vector<std::unique_ptr<PreparedText>> texts;
  AskOptions options;
  std::vector<const PreparedText*> pointers;

  Asked(std::string asked, const std::vector<std::string>& contexts, AskOptions how = {})
      : question(std::move(asked)), options(std::move(how)) {
    for (const std::string& context : contexts) texts.push_back(text_of(context));
    for (const auto& text : texts) pointers.push_back(text.get());
  }
  AnswerKey key() const {
    return {.question = question, .texts = pointers, .options = answer_options(options)};
  }
};

AskResult result_of(const std::string& text) {
  AskResult result;
  result.answers.push_back({.text = text, .score = 0.25, .range = {}, .document = 0});
  result.no_answer_score = 0.75;
  result.windows = 3;
  return result;
}

std::string found(AnswerCache& cache, const Asked& asked) {
  const std::optional<AskResult> result = cache.find(asked.key());
  return result ? result->answers.at(0).text : "nothing";
}

TEST(AnswerCache, FindsWhatIsEqualInAllRespects) {
  AnswerCache cache(kPlenty);
  cache.store(Asked("Where?", {"In Lund.", "In Malmö."}).key(), result_of("Lund"));
  EXPECT_EQ(found(cache, {"Where?", {"In Lund.", "In Malmö."}}), "Lund") << "other objects, same bytes";
  EXPECT_EQ(cache.find(Asked("Where?", {"In Lund.", "In Malmö."}).key())->no_answer_score, 0.75);
  EXPECT_EQ(found(cache, {"Where", {"In Lund.", "In Malmö."}}), "nothing");
  EXPECT_EQ(found(cache, {"Where?", {"In Malmö.", "In Lund."}}), "nothing") << "the order counts";
  EXPECT_EQ(found(cache, {"Where?", {"In Lund."}}), "nothing");
  EXPECT_EQ(found(cache, {"Where?", {"In Lund.", "In Malmö", "."}}), "nothing");
  EXPECT_EQ(found(cache, {"Where?", {"In Lund.", "In Malmö!"}}), "nothing");
}

TEST(AnswerCache, EveryOptionCounts) {
  std::vector<AskOptions> all(11);
  all[1].decode = Decode::kSquad;
  all[2].top_k = 1;
  all[3].max_seq_len = 1;
  all[4].doc_stride = 1;
  all[5].max_answer_len = 1;
  all[6].handle_impossible_answer = true;
  all[7].align_to_words = false;
  all[8].n_best_size = 19;
  all[9].null_score_diff_threshold = 0.5;
  all[10].pad_to_max_length = true;
  AnswerCache cache(kPlenty);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(found(cache, {"Where?", {"In Lund."}, all[i]}), "nothing") << i;
    cache.store(Asked("Where?", {"In Lund."}, all[i]).key(), result_of(std::to_string(i)));
  }
  for (std::size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ(found(cache, {"Where?", {"In Lund."}, all[i]}), std::to_string(i));
  // But not those that no result depends on.
  std::atomic<bool> cancel = false;
  AskOptions same;
  same.cancel = &cancel;
  same.progress = [](std::size_t, std::size_t) {};
  EXPECT_EQ(found(cache, {"Where?", {"In Lund."}, same}), "0");
}

// Texts and questions that all hash alike: comparing decides.
TEST(AnswerCache, CollisionsAreNoHits) {
  AnswerCache cache(kPlenty);
  for (int i = 0; i < 50; ++i) {
    Asked asked("Where?", {"Text " + std::to_string(i)});
    asked.texts[0]->hash = 7;
    EXPECT_EQ(found(cache, asked), "nothing");
    cache.store(asked.key(), result_of(std::to_string(i)));
  }
  for (int i = 0; i < 50; ++i) {
    Asked asked("Where?", {"Text " + std::to_string(i)});
    asked.texts[0]->hash = 7;
    EXPECT_EQ(found(cache, asked), std::to_string(i));
  }
}

TEST(AnswerCache, KeepsWithinItsMemory) {
  constexpr std::size_t kLimit = 100'000;
  AnswerCache cache(kLimit);
  const std::string shared(20'000, 'x');
  for (int i = 0; i < 1000; ++i) {
    const std::string number = std::to_string(i);
    cache.store(Asked("Question " + number, {shared}).key(), result_of(number));
    cache.store(Asked("Question " + number, {std::string(5000, 'y') + number}).key(), result_of(number));
    EXPECT_LE(cache.bytes(), kLimit);
    EXPECT_EQ(found(cache, {"Question 0", {shared}}), "0") << "in use, so it stays";
  }
  EXPECT_GT(cache.bytes(), kLimit / 2);
  EXPECT_EQ(found(cache, {"Question 999", {shared}}), "999");
  EXPECT_EQ(found(cache, {"Question 500", {shared}}), "nothing");
  const Asked large("Where?", {std::string(kLimit, 'z')});
  cache.store(large.key(), result_of("too large"));
  EXPECT_EQ(found(cache, large), "nothing");
  EXPECT_EQ(found(cache, {"Question 999", {shared}}), "999") << "and nothing had to go for it";
}

TEST(AnswerCache, ATextIsHeldOnce) {
  AnswerCache cache(kPlenty);
  const std::string text(100'000, 'x');
  for (int i = 0; i < 100; ++i) {
    cache.store(Asked("Question " + std::to_string(i), {text, text}).key(), result_of("a"));
  }
  EXPECT_LT(cache.bytes(), 200'000U);
}

TEST(AnswerCache, StoresTheSameOnce) {
  AnswerCache cache(kPlenty);
  const Asked asked("Where?", {"In Lund."});
  cache.store(asked.key(), result_of("Lund"));
  const std::size_t bytes = cache.bytes();
  cache.store(asked.key(), result_of("Lund"));
  EXPECT_EQ(cache.bytes(), bytes);
}

TEST(AnswerCache, ManyCallersAtOnce) {
  AnswerCache cache(20'000);  // too little for all
  std::atomic<int> wrong{0}, hits{0};
  {
    std::vector<std::jthread> callers;
    for (int caller = 0; caller < 4; ++caller) {
      callers.emplace_back([&, caller] {
        for (int i = 0; i < 2000; ++i) {
          const std::string number = std::to_string((i * 7 + caller) % 60);
          const Asked asked("Question " + number, {"Text " + number});
          const std::string answer = found(cache, asked);
          if (answer == "nothing") {
            cache.store(asked.key(), result_of(number));
          } else {
            ++(answer == number ? hits : wrong);
          }
        }
      });
    }
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(hits, 0);
}

// A reader whose engine can be asked what it ran.
LoadedReader load(std::size_t cache_bytes) {
  const std::filesystem::path folder = std::filesystem::path(KVASIR_TEST_DATA) / "encoders-qa/bert-uncased";
  return {.folder = folder,
          .id = 1,
          .tokenizer = text::Tokenizer::load(folder),
          .engine = runtime::Engine::load(folder, models::Task::kQuestionAnswering,
                                          {.threads = 2, .isa = tests::test_isa()}),
          .calibration = {},
          .cache = std::make_unique<AnswerCache>(cache_bytes)};
}

std::unique_ptr<PreparedText> prepare(const LoadedReader& reader, const std::string& text) {
  auto prepared = text_of(text);
  prepared->tokens = reader.tokenizer.tokenize(prepared->text);
  prepared->offsets = base::OffsetMap(prepared->text);
  prepared->reader_id = reader.id;
  return prepared;
}

void expect_equal(const AskResult& a, const AskResult& b) {
  EXPECT_EQ(a.no_answer_score, b.no_answer_score);
  EXPECT_EQ(a.windows, b.windows);
  ASSERT_EQ(a.answers.size(), b.answers.size());
  for (std::size_t i = 0; i < a.answers.size(); ++i) {
    EXPECT_EQ(a.answers[i].text, b.answers[i].text);
    EXPECT_EQ(a.answers[i].score, b.answers[i].score);
    EXPECT_EQ(a.answers[i].document, b.answers[i].document);
    EXPECT_EQ(a.answers[i].range.byte_start, b.answers[i].range.byte_start);
    EXPECT_EQ(a.answers[i].range.utf16_end, b.answers[i].range.utf16_end);
  }
}

// The fixture's questions, with what was asked before between them.
TEST(ReadBatch, AHitIsTheSameWithoutRunningTheModel) {
  const LoadedReader reader = load(kPlenty), plain = load(0);
  const tests::GoldenModel model = tests::read_golden_model(reader.folder);
  std::vector<std::unique_ptr<PreparedText>> texts;
  std::vector<ReaderQuery> queries;
  for (const tests::GoldenCase& golden : model.cases) {
    texts.push_back(prepare(reader, golden.context));
    queries.push_back({.question = golden.question, .texts = {texts.back().get()}, .where = ""});
  }
  for (const Decode decode : {Decode::kKvasir, Decode::kPipeline, Decode::kSquad}) {
    AskOptions options;
    options.decode = decode;
    options.top_k = 4;
    const std::vector<AskResult> expected = read_batch(plain, queries, options, {});
    for (std::size_t i = 0; i < queries.size(); i += 2) read_batch(reader, {&queries[i], 1}, options, {});
    std::vector<std::size_t> order;
    std::size_t done = 0, windows = 0;
    options.progress = [&](std::size_t now, std::size_t all) {
      EXPECT_GT(now, done);
      done = now, windows = all;
    };
    const auto note = [&](std::size_t query, const AskResult&) { order.push_back(query); };
    const std::vector<AskResult> mixed = read_batch(reader, queries, options, note);
    EXPECT_EQ(done, windows);
    ASSERT_EQ(order.size(), queries.size());
    EXPECT_TRUE(std::ranges::is_sorted(order));
    const std::uint64_t tokens = reader.engine.tokens_run();
    done = 0;
    const std::vector<AskResult> known = read_batch(reader, queries, options, {});
    EXPECT_EQ(done, windows);
    EXPECT_EQ(reader.engine.tokens_run(), tokens) << "nothing was left to run";
    for (std::size_t i = 0; i < queries.size(); ++i) {
      expect_equal(mixed[i], expected[i]);
      expect_equal(known[i], expected[i]);
    }
  }
}

TEST(ReadBatch, EqualWindowsRunOnce) {
  const LoadedReader reader = load(0);
  const auto lund = prepare(reader, "The treaty was signed in Lund in 1676."),
             lund_again = prepare(reader, lund->text), kiel = prepare(reader, "It was signed in Kiel.");
  const auto ask = [&](std::vector<const PreparedText*> texts, std::string_view question) {
    const ReaderQuery query{.question = question, .texts = std::move(texts), .where = ""};
    const std::uint64_t before = reader.engine.tokens_run();
    AskResult result = read_batch(reader, {&query, 1}, {}, {}).front();
    return std::pair(std::move(result), reader.engine.tokens_run() - before);
  };
  const auto [once, tokens] = ask({lund.get(), kiel.get()}, "Where was it signed?");
  const auto [many, tokens_of_many] =
      ask({lund.get(), kiel.get(), lund_again.get(), kiel.get(), lund.get()}, "Where was it signed?");
  EXPECT_EQ(tokens_of_many, tokens);
  EXPECT_EQ(many.windows, 5U);
  EXPECT_EQ(many.answers.at(0).text, once.answers.at(0).text);

  // The same question in a batch, far apart, and one that differs.
  std::vector<ReaderQuery> queries;
  for (int i = 0; i < 300; ++i) {
    queries.push_back({.question = i == 299 ? "When was it signed?" : "Where was it signed?",
                       .texts = {lund.get(), kiel.get()},
                       .where = ""});
  }
  const std::uint64_t before = reader.engine.tokens_run();
  const std::vector<AskResult> results = read_batch(reader, queries, {}, {});
  EXPECT_EQ(reader.engine.tokens_run() - before, 2 * tokens);
  for (int i = 0; i < 299; ++i) expect_equal(results[static_cast<std::size_t>(i)], once);
  expect_equal(results.back(), ask({lund.get(), kiel.get()}, "When was it signed?").first);

  // Padding is a window of its own.
  AskOptions padded{.decode = Decode::kSquad};
  padded.max_seq_len = 64;
  padded.pad_to_max_length = true;
  const std::uint64_t before_padded = reader.engine.tokens_run();
  read_batch(reader, queries, padded, {});
  EXPECT_EQ(reader.engine.tokens_run() - before_padded, 4U * 64);
}

}  // namespace
}  // namespace kvasir::qa
