// The pipeline's and run_qa's decoders against the reference's answers, from the reference's own logits.
#include <gtest/gtest.h>

#include <map>

#include "qa_fixtures.h"

namespace kvasir::tests {
namespace {

class DecodeFixtures : public testing::TestWithParam<std::string> {
 protected:
  static std::filesystem::path folder() {
    return std::filesystem::path(KVASIR_TEST_DATA) / "encoders-qa" / GetParam();
  }
  static int stride_of(const GoldenModel& model, std::size_t i, const char* list) {
    return model.file.at(list).at(i).at("effective").at("doc_stride").to_number<int>();
  }
};

// Python's slice: empty if the end lies before the begin.
std::string slice(const std::string& text, const qa::DecodedAnswer& answer) {
  return answer.byte_end < answer.byte_begin
             ? ""
             : text.substr(answer.byte_begin, answer.byte_end - answer.byte_begin);
}

void expect_pipeline(const GoldenCase& golden, const qa::Decoded& decoded) {
  const base::OffsetMap map(golden.context);
  ASSERT_EQ(decoded.answers.size(), golden.pipeline.size());
  for (std::size_t i = 0; i < decoded.answers.size(); ++i) {
    const qa::DecodedAnswer& answer = decoded.answers[i];
    expect_close(answer.score, golden.pipeline[i].score);
    EXPECT_EQ(map.code_points(answer.byte_begin), golden.pipeline[i].start);
    EXPECT_EQ(map.code_points(answer.byte_end), golden.pipeline[i].end);
    EXPECT_EQ(slice(golden.context, answer), golden.pipeline[i].text);
  }
}

TEST_P(DecodeFixtures, Pipeline) {
  const GoldenModel model = read_golden_model(folder());
  ASSERT_EQ(model.cases.size(), 26U);
  for (std::size_t i = 0; i < model.cases.size(); ++i) {
    const GoldenCase& golden = model.cases[i];
    SCOPED_TRACE(golden.id);
    AskOptions options = golden.options;
    options.decode = Decode::kPipeline;
    const GoldenContext context = read_context(golden, 1, stride_of(model, i, "cases"));
    expect_pipeline(golden, decode_case(golden, context, 1, model.cls_id, options));
  }
}

TEST_P(DecodeFixtures, PipelineWithTheContextFirst) {
  const GoldenModel model = read_golden_model(folder());
  for (std::size_t i = 0; i < model.left_padding_cases.size(); ++i) {
    const GoldenCase& golden = model.left_padding_cases[i];
    SCOPED_TRACE(golden.id);
    AskOptions options = golden.options;
    options.decode = Decode::kPipeline;
    const GoldenContext context = read_context(golden, 0, stride_of(model, i, "left_padding_cases"));
    expect_pipeline(golden, decode_case(golden, context, 0, model.cls_id, options));
  }
}

// What run_qa predicts, "empty" included.
std::string prediction(const GoldenCase& golden, const qa::Decoded& decoded) {
  if (decoded.answers.empty()) return "empty";
  return slice(golden.context, decoded.answers[0]);
}

void expect_v1(const GoldenCase& golden, const json::value& expected, const qa::Decoded& decoded) {
  EXPECT_EQ(prediction(golden, decoded), expected.at("prediction").as_string());
  if (decoded.answers.empty()) return;
  EXPECT_EQ(decoded.answers.size(), expected.at("n_candidates").to_number<std::size_t>());
  expect_close(decoded.answers[0].score, expected.at("probability").to_number<double>());
}

void expect_v2(const GoldenCase& golden, const json::value& expected, const qa::Decoded& decoded) {
  EXPECT_EQ(prediction(golden, decoded), expected.at("prediction").as_string());
  EXPECT_NEAR(decoded.no_answer_score, expected.at("score_diff").to_number<double>(), 1e-4);
  const json::value* list = expected.as_object().if_contains("nbest");
  if (list == nullptr || decoded.answers.empty()) return;
  // Ours puts the prediction first and has no literal "empty".
  std::multimap<std::pair<std::size_t, std::size_t>, double> ours;
  for (const qa::DecodedAnswer& answer : decoded.answers)
    ours.emplace(std::pair{answer.byte_begin, answer.byte_end}, answer.score);
  const base::OffsetMap map(golden.context);
  std::size_t count = 0;
  for (const json::value& item : list->as_array()) {
    if (item.at("offsets").is_null()) continue;
    ++count;
    const text::ByteSpan bytes = byte_span(map, item.at("offsets"));
    const auto found = ours.find({bytes.begin, bytes.end});
    ASSERT_NE(found, ours.end()) << item;
    expect_close(found->second, item.at("probability").to_number<double>());
    ours.erase(found);
  }
  EXPECT_EQ(count, decoded.answers.size());
}

TEST_P(DecodeFixtures, RunQa) {
  const GoldenModel model = read_golden_model(folder());
  const formats::SafetensorsFile padded(folder() / "run_qa_padded_logits.safetensors");
  for (std::size_t i = 0; i < model.cases.size(); ++i) {
    const GoldenCase& golden = model.cases[i];
    SCOPED_TRACE(golden.id);
    // run_qa strips the question, the pipeline, whose windows these are, does not. Where spaces count they
    // differ.
    if (golden.question.starts_with(' ')) continue;
    const GoldenContext context = read_context(golden, 1, stride_of(model, i, "cases"));
    AskOptions options;
    options.decode = Decode::kSquad;
    options.top_k = 100;  // the whole n-best list
    for (const bool version_2 : {false, true}) {
      options.handle_impossible_answer = version_2;
      const auto expect = version_2 ? expect_v2 : expect_v1;
      const char* version = version_2 ? "v2" : "v1";
      expect(golden, golden.run_qa->at("unpadded").at(version),
             decode_case(golden, context, 1, model.cls_id, options));
      const tensor::TensorView& view = padded.tensors().at(golden.id);
      std::vector<float> logits(view.elements());
      view.read_floats(0, logits);
      expect(golden, golden.run_qa->at("padded").at(version),
             decode_case(golden, context, 1, model.cls_id, options, logits));
    }
  }
}

// What holds for our own decoder on any logits.
TEST_P(DecodeFixtures, KvasirAnswersAreOrderedDisjointNestedProbabilities) {
  const GoldenModel model = read_golden_model(folder());
  for (std::size_t i = 0; i < model.cases.size(); ++i) {
    const GoldenCase& golden = model.cases[i];
    SCOPED_TRACE(golden.id);
    const GoldenContext context = read_context(golden, 1, stride_of(model, i, "cases"));
    AskOptions options;
    options.handle_impossible_answer = i % 2 == 0;
    options.top_k = 1000;
    const qa::Decoded all = decode_case(golden, context, 1, model.cls_id, options);
    double sum = options.handle_impossible_answer ? 0 : all.no_answer_score;
    for (std::size_t a = 0; a < all.answers.size(); ++a) {
      const qa::DecodedAnswer& answer = all.answers[a];
      EXPECT_GE(answer.score, 0);
      if (a > 0) {
        EXPECT_LE(answer.score, all.answers[a - 1].score);
      }
      sum += answer.score;
      for (std::size_t b = 0; b < a; ++b) {
        EXPECT_TRUE(answer.byte_end <= all.answers[b].byte_begin ||
                    all.answers[b].byte_end <= answer.byte_begin);
      }
    }
    EXPECT_LE(sum, 1 + 1e-9);
    for (const int k : {1, 2, 5}) {
      options.top_k = k;
      const qa::Decoded few = decode_case(golden, context, 1, model.cls_id, options);
      ASSERT_EQ(few.answers.size(), std::min<std::size_t>(static_cast<std::size_t>(k), all.answers.size()));
      for (std::size_t a = 0; a < few.answers.size(); ++a) {
        EXPECT_EQ(few.answers[a].byte_begin, all.answers[a].byte_begin);
        EXPECT_EQ(few.answers[a].byte_end, all.answers[a].byte_end);
        EXPECT_EQ(few.answers[a].score, all.answers[a].score);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, DecodeFixtures, testing::ValuesIn(kGoldenModels), golden_name);

}  // namespace
}  // namespace kvasir::tests
