// Windows and labels against run_qa's.
#include "train/span_features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::train {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

namespace json = base::json;
const std::filesystem::path kSource = KVASIR_SOURCE_DIR;

text::Tokenizer load(const std::filesystem::path& folder) {
  return text::Tokenizer::load(formats::ModelFolder(folder));
}

const text::Tokenizer& kvasir_base() {
  static const text::Tokenizer tokenizer = load(kSource / "models/kvasir-base");
  return tokenizer;
}

// The same tokenizer with the text before the question, as padding_side "left" has it.
text::Tokenizer padding_left(const std::filesystem::path& folder) {
  const tests::TemporaryFolder copy;
  std::filesystem::copy(folder / "tokenizer.json", copy / "tokenizer.json");
  std::filesystem::copy(folder / "config.json", copy / "config.json");
  json::value config = base::parse_json_file(folder / "tokenizer_config.json");
  config.as_object()["padding_side"] = "left";
  std::ofstream(copy / "tokenizer_config.json") << json::serialize(config);
  return load(copy.path());
}

// Σ (place from 1) · number
std::int64_t weighted_sum(std::span<const std::int32_t> numbers) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < numbers.size(); ++i) sum += static_cast<std::int64_t>(i + 1) * numbers[i];
  return sum;
}

// One window in the columns of labels.json; start and end are left out.
std::vector<std::int64_t> recorded(const SpanFeature& feature) {
  return {static_cast<std::int64_t>(feature.example), static_cast<std::int64_t>(feature.input_ids.size()),
          weighted_sum(feature.input_ids), weighted_sum(feature.token_type_ids)};
}

// Labels of run_qa that are no span of the text.
struct Corrected {
  std::size_t behind = 0;    // the start is behind the text
  std::size_t reversed = 0;  // the start is behind the end
};

void compare(const json::object& record, const TrainingData& data, const text::Tokenizer& tokenizer,
             Corrected& corrected) {
  const json::array& windows = record.at("windows").as_array();
  base::ThreadPool pool(2);
  const SpanFeatures features =
      make_span_features(tokenizer, data,
                         {.max_seq_len = static_cast<int>(record.at("max_seq_length").as_int64()),
                          .doc_stride = static_cast<int>(record.at("doc_stride").as_int64())},
                         pool);
  ASSERT_EQ(features.size(), windows.size());
  for (std::size_t i = 0; i < features.size(); ++i) {
    SCOPED_TRACE(i);
    const json::array& window = windows[i].as_array();
    const SpanFeature feature = features[i];
    EXPECT_THAT(recorded(feature), ElementsAre(window[0].as_int64(), window[3].as_int64(),
                                               window[4].as_int64(), window[5].as_int64()));
    std::int64_t start = window[1].as_int64(), end = window[2].as_int64();
    if (start > end && start == feature.end) {
      std::swap(start, end);
      ++corrected.reversed;
    } else if (start > end) {
      // The token before the one that ends the text.
      const auto text = feature.input_ids.subspan(static_cast<std::size_t>(end));
      start = std::ranges::find(text, *tokenizer.special_ids().sep) - text.begin() + end - 1;
      ++corrected.behind;
    }
    EXPECT_EQ(feature.start, start);
    EXPECT_EQ(feature.end, end);
  }
}

TEST(SpanFeatures, AreThoseOfRunQa) {
  const json::value labels =
      base::parse_json_file(std::filesystem::path(KVASIR_TEST_DATA) / "training/labels.json");
  const TrainingData data = parse_training_data(json::serialize(labels.at("rows")), "rows");
  ASSERT_THAT(data.examples, SizeIs(51));
  ASSERT_EQ(data.repaired + data.bad, 0);
  Corrected corrected;
  for (const json::value& record : labels.at("cases").as_array()) {
    SCOPED_TRACE(json::serialize(record).substr(0, 100));
    const std::filesystem::path folder = kSource / json::value_to<std::string>(record.at("tokenizer"));
    const bool is_left = record.at("padding_side") == "left";
    compare(record.as_object(), data, is_left ? padding_left(folder) : load(folder), corrected);
  }
  EXPECT_EQ(corrected.behind, 9);
  EXPECT_EQ(corrected.reversed, 1);
}

// Rows of one text as a file.
TrainingData data_of(const std::string& context, const std::vector<std::string>& answers) {
  json::array rows;
  for (const std::string& answer : answers) {
    rows.push_back(
        json::object{{"id", "q" + std::to_string(rows.size())},
                     {"context", context},
                     {"question", "Which one?"},
                     {"answers", json::array{json::object{{"text", answer}, {"answer_start", 0}}}}});
  }
  return parse_training_data(json::serialize(rows), "rows.json");
}

SpanFeatures features_of(const TrainingData& data, const SpanFeatureOptions& options = {}) {
  base::ThreadPool pool(1);
  return make_span_features(kvasir_base(), data, options, pool);
}

std::string label_text(const SpanFeature& feature) {
  std::string text;
  for (std::int32_t i = feature.start; i <= feature.end; ++i)
    text += (text.empty() ? "" : " ") +
            std::string(kvasir_base().token(feature.input_ids[static_cast<std::size_t>(i)]));
  return text;
}

TEST(SpanFeatures, LabelWholeTokens) {
  // Answers begin and end where tokens do not, and bytes are not characters.
  const TrainingData data =
      data_of("🎉 The naïve photographers of Umeå left",
              {"hotographe", "naïve", "aïv", "photographers of", "me", " of ", "left", "eft"});
  ASSERT_EQ(data.bad, 0);
  const SpanFeatures features = features_of(data);
  std::vector<std::string> labels;
  for (std::size_t i = 0; i < features.size(); ++i) labels.push_back(label_text(features[i]));
  EXPECT_THAT(labels, ElementsAre("photographers", "naive", "naive", "photographers of", "um ##ea",
                                  "photographers of um", "left", "left"));
}

TEST(SpanFeatures, PointToClsWhereTheAnswerIsNot) {
  std::string context;
  for (int i = 0; i < 40; ++i) context += "word" + std::to_string(i) + " ";
  const TrainingData data = data_of(context, {"word20"});
  const SpanFeatures features = features_of(data, {.max_seq_len = 32, .doc_stride = 8});
  ASSERT_GT(features.size(), 3);
  std::size_t found = 0;
  for (std::size_t i = 0; i < features.size(); ++i) {
    EXPECT_EQ(features[i].example, 0);
    EXPECT_EQ(features[i].window, i);
    EXPECT_EQ(features[i].token_type_ids.size(), features[i].input_ids.size());
    const std::string label = label_text(features[i]);
    EXPECT_TRUE(label == "[CLS]" || label == "word ##20") << label;
    found += label == "word ##20" ? 1 : 0;
  }
  EXPECT_GE(found, 1);
  EXPECT_LT(found, features.size());
}

TEST(SpanFeatures, CutTheirLengthsToWhatIsPossible) {
  std::string context;
  for (int i = 0; i < 300; ++i) context += "word ";
  const TrainingData data = data_of(context + "end", {"end"});
  // An overlap that is not less than the room becomes half of it: windows of 16, of which 10 for text.
  const SpanFeatures narrow = features_of(data, {.max_seq_len = 16, .doc_stride = 100});
  EXPECT_EQ(narrow[0].input_ids.size(), 16);
  EXPECT_EQ(narrow.size(), (301 - 10 + 4) / 5 + 1);
  // The model takes less than is asked for, the tokenizer (512) too.
  EXPECT_EQ(features_of(data, {.max_seq_len = 400, .model_max = 128})[0].input_ids.size(), 128);
  EXPECT_EQ(
      features_of(data_of(context + context + "end", {"end"}), {.max_seq_len = 2000})[0].input_ids.size(),
      512);
  EXPECT_THROW(features_of(data, {.max_seq_len = 0}), Error);
  EXPECT_THROW(features_of(data, {.doc_stride = -1}), Error);
}

TEST(SpanFeatures, LeaveOutQuestionsThatFillTheWindow) {
  TrainingData data = data_of("Lund is old.", {"Lund", "old", "is"});
  data.examples[1].question = "a b c d e f g h i j k l m";
  const SpanFeatures features = features_of(data, {.max_seq_len = 16});
  ASSERT_EQ(features.size(), 2);
  EXPECT_EQ(features[1].example, 2);
  EXPECT_EQ(features.bad, 1);
  ASSERT_THAT(features.first_bad, SizeIs(1));
  EXPECT_EQ(features.first_bad[0].where, "rows.json: question q1");
  EXPECT_EQ(features.first_bad[0].reason, "question of 13 tokens leaves no room in a window of 16");
  // One token less of the question leaves room for one of the text.
  data.examples[1].question = "a b c d e f g h i j k l";
  EXPECT_EQ(features_of(data, {.max_seq_len = 16}).bad, 0);
  try {
    features_of(data, {.max_seq_len = 5});
    ADD_FAILURE() << "no question has room";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("a window of 5 tokens (rows.json: question q0"), HasSubstr("raise")));
  }
}

TEST(SpanFeatures, DoNotDependOnThreads) {
  const json::value labels =
      base::parse_json_file(std::filesystem::path(KVASIR_TEST_DATA) / "training/labels.json");
  json::array rows = labels.at("rows").as_array();
  rows.push_back(rows[0]);  // a text whose questions are not next to each other
  rows.back().as_object()["question"] = "Again?";
  TrainingData data = parse_training_data(json::serialize(rows), "rows");
  data.examples[3].question = std::string(200, '?');
  const SpanFeatureOptions options{.max_seq_len = 64, .doc_stride = 16};
  const SpanFeatures one = features_of(data, options);
  base::ThreadPool pool(4);
  const SpanFeatures four = make_span_features(kvasir_base(), data, options, pool);
  EXPECT_EQ(one.bad, 1);
  EXPECT_EQ(four.bad, 1);
  ASSERT_EQ(one.size(), four.size());
  EXPECT_EQ(one.tokens(), four.tokens());
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_THAT(recorded(one[i]), testing::ElementsAreArray(recorded(four[i])));
    EXPECT_EQ(one[i].start, four[i].start);
    EXPECT_EQ(one[i].end, four[i].end);
    EXPECT_EQ(one[i].window, four[i].window);
    EXPECT_LE(one[i == 0 ? 0 : i - 1].example, one[i].example);
  }
  EXPECT_EQ(one[one.size() - 1].example, rows.size() - 1);
}

TEST(SpanFeatures, BecomeABatch) {
  const TrainingData data = data_of("Lund is an old town.", {"Lund", "old town", "an"});
  const SpanFeatures features = features_of(data);
  EXPECT_THAT(features.lengths(), ElementsAre(12, 12, 12));
  EXPECT_THAT(features.files(data), ElementsAre(0, 0, 0));
  const std::vector<std::uint32_t> chosen = {2, 0};
  const SpanBatch batch = make_span_batch(features, chosen);
  EXPECT_EQ(batch.sequences(), 2);
  EXPECT_THAT(batch.cu_seqlens, ElementsAre(0, 12, 24));
  EXPECT_THAT(batch.examples, ElementsAre(2, 0));
  EXPECT_THAT(batch.start_positions, ElementsAre(7, 5));
  EXPECT_THAT(batch.end_positions, ElementsAre(7, 5));
  EXPECT_THAT(batch.key_lengths, IsEmpty());
  EXPECT_EQ(batch.token_type_ids.size(), 24);
  EXPECT_TRUE(std::ranges::equal(std::span(batch.input_ids).last(12), features[0].input_ids));
  EXPECT_TRUE(std::ranges::equal(std::span(batch.token_type_ids).first(12), features[2].token_type_ids));

  const SpanFeatures untyped = features_of(data, {.token_type_ids = false});
  EXPECT_THAT(untyped[1].token_type_ids, IsEmpty());
  EXPECT_THAT(make_span_batch(untyped, chosen).token_type_ids, IsEmpty());
}

}  // namespace
}  // namespace kvasir::train
