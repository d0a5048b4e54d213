// The whole reader, from a model folder and text to answers, against the reference.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "kvasir/error.h"
#include "qa_fixtures.h"
#include "temporary_folder.h"
#include "test_isa.h"

namespace kvasir::tests {
namespace {

class ReaderFixtures : public testing::TestWithParam<std::string> {
 protected:
  ReaderFixtures()
      : folder_(std::filesystem::path(KVASIR_TEST_DATA) / "encoders-qa" / GetParam()),
        model_(read_golden_model(folder_)),
        reader_(load(folder_)) {}

  static Reader load(const std::filesystem::path& folder) {
    return Reader::load(folder, {.threads = 2, .isa = base::isa_name(test_isa())});
  }

  static void expect_pipeline(const Reader& reader, const GoldenCase& golden) {
    SCOPED_TRACE(golden.id);
    AskOptions options = golden.options;
    options.decode = Decode::kPipeline;
    const AskResult result = reader.ask(golden.question, reader.prepare(golden.context), options);
    EXPECT_EQ(result.windows, golden.windows.size());
    ASSERT_EQ(result.answers.size(), golden.pipeline.size());
    for (std::size_t i = 0; i < result.answers.size(); ++i) {
      expect_close(result.answers[i].score, golden.pipeline[i].score);
      EXPECT_EQ(result.answers[i].range.start, golden.pipeline[i].start);
      EXPECT_EQ(result.answers[i].range.end, golden.pipeline[i].end);
      EXPECT_EQ(result.answers[i].text, golden.pipeline[i].text);
    }
  }

  std::filesystem::path folder_;
  GoldenModel model_;
  Reader reader_;
};

TEST_P(ReaderFixtures, Pipeline) {
  ASSERT_EQ(model_.cases.size(), 26U);
  for (const GoldenCase& golden : model_.cases) expect_pipeline(reader_, golden);
}

TEST_P(ReaderFixtures, PipelineWithTheContextFirst) {
  if (model_.left_padding_cases.empty()) GTEST_SKIP() << "no such cases for " << GetParam();
  const TemporaryFolder left;
  std::filesystem::copy(folder_, left.path(), std::filesystem::copy_options::recursive);
  json::value config = base::parse_json_file(folder_ / "tokenizer_config.json");
  config.as_object()["padding_side"] = "left";
  std::ofstream(left.path() / "tokenizer_config.json") << config;
  const Reader reader = load(left.path());
  for (const GoldenCase& golden : model_.left_padding_cases) expect_pipeline(reader, golden);
}

std::string first_text(const AskResult& result) {
  return result.answers.empty() ? "empty" : result.answers[0].text;  // as run_qa would write it
}

TEST_P(ReaderFixtures, RunQa) {
  for (std::size_t i = 0; i < model_.cases.size(); ++i) {
    const GoldenCase& golden = model_.cases[i];
    SCOPED_TRACE(golden.id);
    const json::value& effective = model_.file.at("cases").at(i).at("effective");
    const Document document = reader_.prepare(golden.context);
    for (const bool padded : {false, true}) {
      SCOPED_TRACE(padded ? "padded" : "unpadded");
      const json::value& expected = golden.run_qa->at(padded ? "padded" : "unpadded");
      AskOptions options;
      options.decode = Decode::kSquad;
      options.max_seq_len = effective.at("max_seq_len").to_number<int>();
      options.doc_stride = effective.at("doc_stride").to_number<int>();
      options.pad_to_max_length = padded;
      const AskResult v1 = reader_.ask(golden.question, document, options);
      EXPECT_EQ(first_text(v1), expected.at("v1").at("prediction").as_string());
      if (!v1.answers.empty())
        expect_close(v1.answers[0].score, expected.at("v1").at("probability").to_number<double>());
      options.handle_impossible_answer = true;
      const AskResult v2 = reader_.ask(golden.question, document, options);
      EXPECT_EQ(first_text(v2), expected.at("v2").at("prediction").as_string());
      EXPECT_NEAR(v2.no_answer_score, expected.at("v2").at("score_diff").to_number<double>(), 2e-3);
    }
  }
}

// Which of our words must be there for a message of the reference.
std::string essence(std::string message) {
  const std::string prefix = "Truncation error: ";
  if (message.starts_with(prefix)) message.erase(0, prefix.size());
  return message.substr(0, message.find("` (note that"));  // the rest explains the tokenizer's insides
}

TEST_P(ReaderFixtures, Errors) {
  const json::array& errors = model_.file.at("errors").as_array();
  ASSERT_EQ(errors.size(), 8U);
  for (const json::value& item : errors) {
    const json::object& args = item.at("args").as_object();
    SCOPED_TRACE(item.at("id").as_string());
    AskOptions options = read_params(args);
    options.decode = Decode::kPipeline;
    std::string message;
    AskResult result;
    try {
      const std::string context(args.at("context").as_string());
      result = reader_.ask(std::string(args.at("question").as_string()), reader_.prepare(context), options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      message = error.what();
    }
    if (item.at("error").is_null()) {
      EXPECT_EQ(message, "");
      ASSERT_EQ(result.answers.size(), item.at("result").as_array().size());
      const json::value& expected = item.at("result").at(0);
      EXPECT_EQ(result.answers[0].text, expected.at("answer").as_string());
      expect_close(result.answers[0].score, expected.at("score").to_number<double>());
      EXPECT_EQ(result.answers[0].range.start, expected.at("start").to_number<std::size_t>());
      EXPECT_EQ(result.answers[0].range.end, expected.at("end").to_number<std::size_t>());
    } else {
      EXPECT_THAT(message, testing::HasSubstr(essence(std::string(item.at("message").as_string()))));
      EXPECT_EQ(message.find('\n'), std::string::npos);
    }
  }
}

// Our own decoder holds its promises on every case: text equals range, order, disjointness, nesting.
TEST_P(ReaderFixtures, KvasirKeepsItsPromises) {
  for (const GoldenCase& golden : model_.cases) {
    SCOPED_TRACE(golden.id);
    const Document document = reader_.prepare(golden.context);
    AskOptions options;
    options.max_seq_len = golden.options.max_seq_len;
    options.doc_stride = golden.options.doc_stride;
    options.top_k = 8;
    const AskResult many = reader_.ask(golden.question, document, options);
    for (std::size_t i = 0; i < many.answers.size(); ++i) {
      const Answer& answer = many.answers[i];
      EXPECT_GE(answer.score, 0);
      EXPECT_LE(answer.score, 1);
      EXPECT_FALSE(answer.text.empty());
      EXPECT_EQ(answer.text, golden.context.substr(answer.range.byte_start,
                                                   answer.range.byte_end - answer.range.byte_start));
      const base::OffsetMap map(golden.context);
      EXPECT_EQ(map.byte_of_code_point(answer.range.start), answer.range.byte_start);
      EXPECT_EQ(map.byte_of_code_point(answer.range.end), answer.range.byte_end);
      EXPECT_EQ(map.utf16_units(answer.range.byte_start), answer.range.utf16_start);
      EXPECT_EQ(map.utf16_units(answer.range.byte_end), answer.range.utf16_end);
    }
    for (const int k : {1, 3}) {
      options.top_k = k;
      const AskResult few = reader_.ask(golden.question, document, options);
      ASSERT_EQ(few.answers.size(), std::min<std::size_t>(static_cast<std::size_t>(k), many.answers.size()));
      for (std::size_t i = 0; i < few.answers.size(); ++i) {
        EXPECT_EQ(few.answers[i].text, many.answers[i].text);
        EXPECT_EQ(few.answers[i].score, many.answers[i].score);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ReaderFixtures, testing::ValuesIn(kGoldenModels), golden_name);

}  // namespace
}  // namespace kvasir::tests
