#include "qa/squad.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/json.h"
#include "kvasir/error.h"

namespace kvasir::qa {
namespace {

const std::filesystem::path kData = KVASIR_TEST_DATA;
const std::filesystem::path kMetrics = kData / "squad-metrics/half-dev";

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content)
      : path_(std::filesystem::path(testing::TempDir()) /
              (std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) + ".json")) {
    std::ofstream(path_) << content;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string error_of(const std::string& content, const std::function<void(std::filesystem::path)>& load) {
  const TemporaryFile file(content);
  try {
    load(file.path());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFormat);
    std::string message = error.what();
    const std::size_t at = message.find(file.path().string());
    EXPECT_NE(at, std::string::npos) << message;
    return at == std::string::npos ? message : message.erase(at, file.path().string().size());
  }
  return "no error";
}

std::string squad_error(const std::string& content) {
  return error_of(content, [](const auto& path) { load_squad(path); });
}

TEST(Squad, LoadsTheHalfDevFile) {
  const SquadDataset data = load_squad(kData / "squad/dev-v2.0-half.json");
  EXPECT_EQ(data.version, "v2.0");
  EXPECT_EQ(data.paragraphs.size(), 646U);
  EXPECT_EQ(data.questions(), 6078U);
  EXPECT_TRUE(data.has_impossible());
  std::size_t answerable = 0;
  for (const SquadParagraph& paragraph : data.paragraphs) {
    for (const SquadQuestion& question : paragraph.qas) answerable += question.answers.empty() ? 0 : 1;
  }
  EXPECT_EQ(answerable, 2910U);
}

TEST(Squad, ErrorsNameThePlace) {
  EXPECT_EQ(squad_error(R"({})"), ": key data is missing");
  EXPECT_EQ(squad_error(R"({"data": 3})"), ": key data is not an array");
  EXPECT_THAT(squad_error(R"([])"), testing::HasSubstr("where an object is due"));
  EXPECT_EQ(squad_error(R"({"data": [{}]})"), ": data[0]: key paragraphs is missing");
  const auto with_qa = [](const std::string& qa) {
    return R"({"data": [{"paragraphs": [{"context": "c", "qas": []}, {"context": "c", "qas": [)" + qa +
           "]}]}]}";
  };
  EXPECT_EQ(squad_error(with_qa(R"({"question": "q", "answers": []})")),
            ": data[0].paragraphs[1].qas[0]: key id is missing");
  EXPECT_EQ(squad_error(with_qa(R"({"id": 7, "question": "q", "answers": []})")),
            ": data[0].paragraphs[1].qas[0]: key id is an integer where a string is due");
  EXPECT_EQ(squad_error(with_qa(R"({"id": "7", "question": "q"})")),
            ": data[0].paragraphs[1].qas[0]: key answers is missing");
  EXPECT_EQ(
      squad_error(with_qa(R"({"id": "7", "question": "q", "answers": [{"text": "a", "answer_start": -1}]})")),
      ": data[0].paragraphs[1].qas[0].answers[0]: key answer_start = -1 is out of range [0, 2147483647]");
  const std::string question = R"({"id": "7", "question": "q", "answers": []})";
  EXPECT_EQ(squad_error(with_qa(question + "," + question)),
            ": data[0].paragraphs[1].qas[1]: id \"7\" is also that of data[0].paragraphs[1].qas[0]");
  const std::string odd = R"({"id": "a\nb", "question": "q", "answers": []})";
  EXPECT_THAT(squad_error(with_qa(odd + "," + odd)), testing::HasSubstr(R"(id "a\nb" is also)"));
  EXPECT_EQ(error_of(R"({"a": 1})", [](const auto& path) { load_predictions(path); }),
            ": key a is an integer where a string is due");
  EXPECT_EQ(error_of(R"({"a": "x"})", [](const auto& path) { load_na_probabilities(path); }),
            ": key a is a string where a number is due");
}

TEST(Squad, NaProbabilitiesKeepTheOrderOfTheFile) {
  const TemporaryFile file(R"({"z": 0.5, "a": 0.25, "m": 1})");
  EXPECT_EQ(load_na_probabilities(file.path()), (NaProbabilities{{"z", 0.5}, {"a", 0.25}, {"m", 1.0}}));
}

TEST(Squad, NormalizesAsTheReference) {
  const base::json::value expected = base::parse_json_file(kMetrics / "expected.json");
  for (const base::json::value& item : expected.at("normalize").as_array()) {
    EXPECT_EQ(normalize_answer(item.at("text").as_string()), item.at("normalized").as_string()) << item;
  }
  EXPECT_EQ(normalize_answer("ΟΔΟΣ ΤΗΣ ΑΘΗΝΑΣ"), "οδος της αθηνας");  // final sigmas
  EXPECT_EQ(normalize_answer("ΑΣ' Σ ΣΑ"), "ας σ σα");
  EXPECT_EQ(normalize_answer("\x1c\u2028 a\u3000"), "");
}

TEST(Squad, ScoresPairsAsTheReference) {
  const base::json::value expected = base::parse_json_file(kMetrics / "expected.json");
  std::size_t count = 0;
  for (const base::json::value& item : expected.at("pairs").as_array()) {
    const std::string gold(item.at("gold").as_string()), prediction(item.at("prediction").as_string());
    const PairScore v1 = score_pair_v1(gold, prediction), v2 = score_pair_v2(gold, prediction);
    EXPECT_EQ(v2.exact, item.at("exact").to_number<double>()) << item;
    EXPECT_NEAR(v2.f1, item.at("f1_v2").to_number<double>(), 1e-9) << item;
    EXPECT_NEAR(v1.f1, item.at("f1_v1").to_number<double>(), 1e-9) << item;
    ++count;
  }
  EXPECT_GT(count, 50U);
}

// All keys of `actual` in the order of the reference, to 1e-9.
void expect_metrics(const std::vector<Metric>& actual, const base::json::object& expected) {
  auto metric = actual.begin();
  for (const auto& entry : expected) {
    ASSERT_NE(metric, actual.end()) << entry.key();
    EXPECT_EQ(metric->name, entry.key());
    EXPECT_NEAR(metric->value, entry.value().to_number<double>(), 1e-9) << entry.key();
    EXPECT_EQ(metric->integer, entry.value().is_int64()) << entry.key();
    ++metric;
  }
  EXPECT_EQ(metric, actual.end());
}

TEST(Squad, MetricsOfTheHalfDevFile) {
  const SquadDataset data = load_squad(kData / "squad/dev-v2.0-half.json");
  const Predictions predictions = load_predictions(kMetrics / "predictions.json");
  const NaProbabilities na = load_na_probabilities(kMetrics / "na_prob.json");
  const base::json::value file = base::parse_json_file(kMetrics / "expected.json");
  const base::json::object& expected = file.at("metrics").as_object();
  expect_metrics(score_v2(data, predictions), expected.at("v2").as_object());
  expect_metrics(score_v2(data, predictions, {.na_probabilities = &na}),
                 expected.at("v2_with_na_prob").as_object());
  expect_metrics(score_v2(data, predictions, {.na_probabilities = &na, .na_prob_threshold = 0.5}),
                 expected.at("v2_with_na_prob_thresh_0.5").as_object());
  base::json::object v1 = expected.at("v1_1").as_object();
  EXPECT_EQ(v1.at("total").to_number<int>(), 2910);
  v1.erase("total");  // not among the official script's keys
  expect_metrics(score_v1(data, predictions), v1);
}

SquadDataset small_data() {
  SquadDataset data;
  data.paragraphs.push_back({"the context",
                             {{"with", "q", {{"Lund", 0}, {"the", 0}}, false},
                              {"without", "q", {}, true},
                              {"only-articles", "q", {{"the", 0}}, false},
                              {"missing", "q", {}, true}}});
  return data;
}

TEST(Squad, EmptyTexts) {
  const SquadDataset data = small_data();
  // "the" is as good as "" for exact match and F1, also where golds normalise to nothing …
  const Predictions predictions{{"with", "in Lund"}, {"without", "the"}, {"only-articles", ""}};
  const std::vector<Metric> metrics = score_v2(data, predictions);
  EXPECT_NEAR(metrics[0].value, 200.0 / 3, 1e-12);                // exact: all but "in Lund"
  EXPECT_NEAR(metrics[1].value, 100 * (2.0 / 3 + 2) / 3, 1e-12);  // f1
  // … but not for the search of the threshold: "the" costs 1 there. It starts at 2 (both unanswerable
  // questions, though one has no prediction).
  const NaProbabilities na{{"without", 0.1}, {"with", 0.2}, {"only-articles", 0.2}};
  const std::vector<Metric> best = score_v2(data, predictions, {.na_probabilities = &na});
  ASSERT_EQ(best[9].name, "best_exact");
  EXPECT_NEAR(best[9].value, 100 * 2.0 / 3, 1e-12);
  EXPECT_EQ(best[10].value, 0);  // threshold
  EXPECT_NEAR(best[11].value, 100 * (2.0 - 1 + 2.0 / 3 + 1) / 3, 1e-12);
  EXPECT_EQ(best[12].value, 0.2);
  // v1.1: F1 of two empty texts is 0, a missing prediction counts.
  const std::vector<Metric> v1 = score_v1(data, {{"only-articles", "a"}});
  EXPECT_NEAR(v1[0].value, 50, 1e-12);
  EXPECT_NEAR(v1[1].value, 0, 1e-12);
}

TEST(Squad, RefusesFilesThatDoNotBelongTogether) {
  const SquadDataset data = small_data();
  EXPECT_THROW(score_v2(data, {{"other", "x"}}), Error);
  EXPECT_THROW(score_v1({}, {}), Error);
  const NaProbabilities na{{"without", 0.1}};
  EXPECT_THROW(score_v2(data, {{"with", "x"}}, {.na_probabilities = &na}), Error);
}

}  // namespace
}  // namespace kvasir::qa
