// What the public reader promises beyond the reference: batches, threads, cancelling, long and many
// documents.
#include "kvasir/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "qa_fixtures.h"
#include "temporary_folder.h"
#include "test_isa.h"

namespace kvasir::tests {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(KVASIR_TEST_DATA) / "encoders-qa/bert-uncased";

// Without the cache, so that what is asked again runs again.
Reader load(const std::filesystem::path& folder = kFolder) {
  return Reader::load(folder, {.threads = 2, .isa = base::isa_name(test_isa()), .answer_cache_bytes = 0});
}

template <class Call>
Error error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {ErrorCode::kInternal, ""};
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
  }
}

std::vector<Query> golden_queries(const Reader& reader) {
  static const GoldenModel model = read_golden_model(kFolder);
  std::vector<Query> queries;
  for (const GoldenCase& golden : model.cases)
    queries.push_back({golden.question, {reader.prepare(golden.context, golden.id)}});
  return queries;
}

TEST(Reader, TellsWhatItIs) {
  const Reader reader = load();
  EXPECT_EQ(reader.max_seq_len(), 128);
  EXPECT_EQ(reader.threads(), 2);
  EXPECT_EQ(reader.isa(), std::string(base::isa_name(test_isa())));
  EXPECT_EQ(reader.family(), "bert");
  const Document document = reader.prepare("The treaty was signed in Lund.", "treaty.txt");
  EXPECT_EQ(document.text(), "The treaty was signed in Lund.");
  EXPECT_EQ(document.name(), "treaty.txt");
  EXPECT_GE(document.tokens(), 7U);
  EXPECT_EQ(Document().text(), "");
  EXPECT_EQ(Document().name(), "");
  EXPECT_EQ(Document().tokens(), 0U);
}

TEST(Reader, ABatchEqualsSingleQuestions) {
  const Reader reader = load();
  const std::vector<Query> queries = golden_queries(reader);
  for (const Decode decode : {Decode::kKvasir, Decode::kPipeline, Decode::kSquad}) {
    AskOptions options;
    options.decode = decode;
    options.top_k = 4;
    std::vector<std::size_t> order;
    const std::vector<AskResult> results = reader.ask_batch(
        queries, options, [&](std::size_t query, const AskResult&) { order.push_back(query); });
    ASSERT_EQ(results.size(), queries.size());
    ASSERT_EQ(order.size(), queries.size());
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    for (std::size_t i = 0; i < queries.size(); ++i)
      expect_equal(results[i], reader.ask(queries[i].question, queries[i].documents, options));
  }
  EXPECT_TRUE(reader.ask_batch({}).empty());
}

TEST(Reader, AnswersDoNotDependOnThreadsOrCallers) {
  const Reader reader = load();
  const std::vector<Query> queries = golden_queries(reader);
  const std::vector<AskResult> expected = reader.ask_batch(queries);
  std::vector<std::vector<AskResult>> results(4);
  {
    std::vector<std::jthread> callers;
    for (std::vector<AskResult>& result : results) {
      callers.emplace_back([&queries, &result, copy = reader] {
        for (const Query& query : queries) {
          const Document again = copy.prepare(query.documents[0].text());
          result.push_back(copy.ask(query.question, again));
        }
      });
    }
  }
  for (const std::vector<AskResult>& result : results) {
    ASSERT_EQ(result.size(), expected.size());
    for (std::size_t i = 0; i < result.size(); ++i) expect_equal(result[i], expected[i]);
  }
  const Reader single = Reader::load(kFolder, {.threads = 1, .isa = base::isa_name(test_isa())});
  const Document document = single.prepare(queries[2].documents[0].text());
  expect_equal(single.ask(queries[2].question, document), expected[2]);
}

TEST(Reader, ManyDocumentsAreOneCollection) {
  const Reader reader = load();
  const std::vector<Query> queries = golden_queries(reader);
  std::vector<Document> documents;
  for (const Query& query : queries) documents.push_back(query.documents[0]);
  AskOptions options;
  options.top_k = 50;
  const AskResult all = reader.ask("Where was the treaty signed?", documents, options);
  ASSERT_EQ(all.answers.size(), 50U);
  double sum = all.no_answer_score;
  std::vector<std::size_t> used;
  for (const Answer& answer : all.answers) {
    ASSERT_LT(answer.document, documents.size());
    EXPECT_EQ(documents[answer.document].text().substr(answer.range.byte_start, answer.text.size()),
              answer.text);
    sum += answer.score;
    used.push_back(answer.document);
  }
  EXPECT_LE(sum, 1 + 1e-9);
  std::sort(used.begin(), used.end());
  EXPECT_GT(std::unique(used.begin(), used.end()) - used.begin(), 1);
  // The same spans compete whatever the order of the documents.
  std::reverse(documents.begin(), documents.end());
  const AskResult reversed = reader.ask("Where was the treaty signed?", documents, options);
  EXPECT_NEAR(reversed.no_answer_score, all.no_answer_score, 1e-9);
  EXPECT_EQ(reversed.answers[0].text, all.answers[0].text);
  EXPECT_EQ(reversed.answers[0].document, documents.size() - 1 - all.answers[0].document);
}

TEST(Reader, TextsWithoutTokens) {
  const Reader reader = load();
  const Document blank = reader.prepare("  \n ");
  AskOptions options;
  const AskResult kvasir = reader.ask("Where?", blank, options);
  EXPECT_TRUE(kvasir.answers.empty());
  EXPECT_EQ(kvasir.no_answer_score, 1);
  EXPECT_EQ(kvasir.windows, 0U);
  options.handle_impossible_answer = true;
  ASSERT_EQ(reader.ask("Where?", blank, options).answers.size(), 1U);
  options = {.decode = Decode::kSquad};
  EXPECT_TRUE(reader.ask("Where?", blank, options).answers.empty());
  options.decode = Decode::kPipeline;
  const AskResult pipeline = reader.ask("Where?", blank, options);
  ASSERT_EQ(pipeline.answers.size(), 1U);
  EXPECT_EQ(pipeline.answers[0].text, "");
  // In a batch between others.
  const std::vector<Query> queries{
      {"Where?", {blank}}, {"Where?", {reader.prepare("In Lund.")}}, {"Where?", {blank}}};
  std::vector<std::size_t> order;
  const std::vector<AskResult> results =
      reader.ask_batch(queries, {}, [&](std::size_t query, const AskResult&) { order.push_back(query); });
  EXPECT_EQ(order, (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(results[1].answers.size(), 1U);
}

TEST(Reader, ReportsProgress) {
  const Reader reader = load();
  const std::vector<Query> queries = golden_queries(reader);
  std::vector<std::size_t> seen;
  std::size_t total = 0;
  AskOptions options;
  options.progress = [&](std::size_t done, std::size_t all) {
    seen.push_back(done);
    total = all;
  };
  const std::vector<AskResult> results = reader.ask_batch(queries, options);
  std::size_t windows = 0;
  for (const AskResult& result : results) windows += result.windows;
  EXPECT_EQ(total, windows);
  ASSERT_EQ(seen.size(), windows);
  for (std::size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], i + 1);
}

TEST(Reader, StopsWhenCancelled) {
  const Reader reader = load();
  std::vector<Query> queries;
  for (int i = 0; i < 20; ++i) {
    for (const Query& query : golden_queries(reader)) queries.push_back(query);
  }
  std::atomic<bool> cancel = false;
  std::size_t last = 0, all = 0;
  AskOptions options;
  options.cancel = &cancel;
  options.progress = [&](std::size_t done, std::size_t total) {
    last = done;
    all = total;
    if (done == 30) cancel = true;
  };
  const Error error = error_of([&] { reader.ask_batch(queries, options); });
  EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  EXPECT_GE(last, 30U);
  EXPECT_LT(last, 80U) << "a batch is about 1000 tokens, also where windows are known";
  EXPECT_EQ(error.what(),
            "cancelled after " + std::to_string(last) + " of " + std::to_string(all) + " windows");
  // The reader is none the worse for it.
  cancel = false;
  options.progress = {};
  EXPECT_EQ(reader.ask(queries[0].question, queries[0].documents, options).answers.size(), 1U);
}

TEST(Reader, CallbacksMayThrow) {
  const Reader reader = load();
  const std::vector<Query> queries = golden_queries(reader);
  EXPECT_THROW(
      reader.ask_batch(queries, {}, [](std::size_t, const AskResult&) { throw std::runtime_error("full"); }),
      std::runtime_error);
  EXPECT_EQ(reader.ask_batch(queries).size(), queries.size());
}

TEST(Reader, RefusesBadArguments) {
  const Reader reader = load();
  const Document document = reader.prepare("The treaty was signed in Lund.");
  const auto expect = [](const Error& error, ErrorCode code, const std::string& words) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), testing::HasSubstr(words));
  };
  const auto invalid = ErrorCode::kInvalidArgument;
  expect(error_of([&] { reader.prepare(""); }), invalid, "`context` cannot be empty");
  expect(error_of([&] { reader.prepare("ab\xFFz", "x.txt"); }), invalid, "x.txt: is not UTF-8 (byte 2)");
  expect(error_of([&] { reader.ask("", document); }), invalid, "`question` cannot be empty");
  expect(error_of([&] { reader.ask(" \n", document); }), invalid, "`question` cannot be empty");
  expect(error_of([&] { reader.ask("a\xC3", document); }), invalid, "question: is not UTF-8 (byte 1)");
  expect(error_of([&] { reader.ask("Where?", Document()); }), invalid, "document 0: is empty");
  expect(error_of([&] { reader.ask("Where?", std::span<const Document>()); }), invalid, "there is none");
  expect(error_of([&] { reader.ask("Where?", load().prepare("In Lund.")); }), invalid,
         "document 0: was prepared by another reader");
  const std::vector<Query> queries{{"Where?", {document}}, {"", {document}}};
  std::size_t results = 0;
  expect(error_of([&] { reader.ask_batch(queries, {}, [&](std::size_t, const AskResult&) { ++results; }); }),
         invalid, "query 1: `question` cannot be empty");
  EXPECT_EQ(results, 0U) << "all are checked before any runs";
  std::string question;
  for (int i = 0; i < 200; ++i) question += "where ";
  for (const Decode decode : {Decode::kKvasir, Decode::kPipeline, Decode::kSquad}) {
    AskOptions options;
    options.decode = decode;
    expect(error_of([&] { reader.ask(question, document, options); }), invalid, "too short");
  }
  AskOptions options;
  options.top_k = 0;
  expect(error_of([&] { reader.ask("Where?", document, options); }), invalid,
         "top_k parameter should be >= 1 (got 0)");
  expect(error_of([] { Reader::load(kFolder, {.threads = -1}); }), invalid, "threads");
  expect(error_of([] { Reader::load(kFolder, {.isa = "avx9"}); }), invalid, "avx9");
  expect(error_of([] { Reader::load(kFolder / "nowhere"); }), ErrorCode::kNotFound, "nowhere");
}

// A copy of the model folder with a kvasir_reader.json.
class CalibratedFolder : public TemporaryFolder {
 public:
  explicit CalibratedFolder(const std::string& calibration) {
    std::filesystem::copy(kFolder, path(), std::filesystem::copy_options::recursive);
    std::ofstream(path() / "kvasir_reader.json") << calibration;
  }
};

TEST(Reader, TakesTheModelsCalibration) {
  const CalibratedFolder folder(
      R"({"format_version": 1, "calibration": {"temperature": 2.5, "no_answer_bias": 1.5}})");
  const Reader plain = load(), calibrated = load(folder.path());
  const std::string context = "The treaty was signed in Lund.";
  const AskResult a = plain.ask("Where was the treaty signed?", plain.prepare(context));
  const AskResult b = calibrated.ask("Where was the treaty signed?", calibrated.prepare(context));
  // One span of one token: its odds against "no answer" tell temperature and bias.
  AskOptions one;
  one.max_answer_len = 1;
  one.align_to_words = false;
  const AskResult c = plain.ask("Where?", plain.prepare("signed"), one);
  const AskResult d = calibrated.ask("Where?", calibrated.prepare("signed"), one);
  if (plain.prepare("signed").tokens() == 1) {
    const double margin = std::log(c.answers.at(0).score / c.no_answer_score);
    EXPECT_NEAR(std::log(d.answers.at(0).score / d.no_answer_score), margin / 2.5 - 1.5, 1e-9);
  }
  EXPECT_NE(a.no_answer_score, b.no_answer_score);
  // The pipeline's scores are no business of the calibration.
  AskOptions pipeline;
  pipeline.decode = Decode::kPipeline;
  EXPECT_EQ(plain.ask("Where?", plain.prepare(context), pipeline).answers.at(0).score,
            calibrated.ask("Where?", calibrated.prepare(context), pipeline).answers.at(0).score);
}

TEST(Reader, RefusesBadCalibrations) {
  const auto message = [](const std::string& calibration, ErrorCode code = ErrorCode::kFormat) {
    const CalibratedFolder folder(calibration);
    const Error error = error_of([&] { load(folder.path()); });
    EXPECT_EQ(error.code(), code);
    EXPECT_THAT(error.what(), testing::HasSubstr((folder.path() / "kvasir_reader.json").string()));
    return std::string(error.what());
  };
  EXPECT_THAT(message("{"), testing::HasSubstr("kvasir_reader.json:1"));
  EXPECT_THAT(message("{}"), testing::HasSubstr("key format_version is missing"));
  EXPECT_THAT(message(R"({"format_version": 2})", ErrorCode::kUnsupported),
              testing::HasSubstr("format_version 2"));
  EXPECT_THAT(message(R"({"format_version": 1})"), testing::HasSubstr("key calibration is missing"));
  EXPECT_THAT(message(R"({"format_version": 1, "calibration": {"temperature": 1}})"),
              testing::HasSubstr("key no_answer_bias is missing"));
  EXPECT_THAT(message(R"({"format_version": 1, "calibration": {"temperature": 0, "no_answer_bias": 0}})"),
              testing::HasSubstr("temperature = 0 is out of range"));
  EXPECT_THAT(message(R"({"format_version": 1, "calibration": {"temperature": "1", "no_answer_bias": 0}})"),
              testing::HasSubstr("where a number is due"));
  EXPECT_THAT(
      message(R"({"format_version": 1, "calibration": {"temperature": 1, "no_answer_bias": 0, "x": 1}})"),
      testing::HasSubstr("key \"x\" is unknown"));
  EXPECT_THAT(
      message(R"({"format_version": 1, "calibration": {"temperature": 1, "no_answer_bias": 0}, "x": 1})"),
      testing::HasSubstr("key \"x\" is unknown"));
}

// Peak resident memory in bytes.
std::size_t peak_memory() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    if (word == "VmHWM:") {
      std::size_t kib = 0;
      status >> kib;
      return kib * 1024;
    }
  }
  return 0;
}

// A document of thousands of windows: they are built and dropped as the model gets to them. All at once they
// would take 24 bytes a token for the encodings alone, 10 MB here; it is 4 MB, most of it the pool of
// answers.
TEST(Reader, LongDocumentsTakeLittleMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep freed memory";
#endif
  if (test_isa() == base::Isa::kScalar) GTEST_SKIP() << "slow, and the same";
  const Reader reader = load();
  std::string text;
  for (int year = 0; text.size() < 600'000; ++year)
    text += "The treaty was signed in Lund in the winter of " + std::to_string(year) + ", they say. ";
  const Document document = reader.prepare(text);
  AskOptions options;
  options.top_k = 20;
  options.doc_stride = 64;
  const std::size_t before = peak_memory();
  const AskResult result = reader.ask("Where was the treaty signed?", document, options);
  const std::size_t after = peak_memory();
  EXPECT_GT(result.windows, 3000U);
  EXPECT_EQ(result.answers.size(), 20U);
  EXPECT_LT(after - before, std::size_t{7} << 20);
}

}  // namespace
}  // namespace kvasir::tests
