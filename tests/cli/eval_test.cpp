// kvasir eval: the official metrics, and a whole run over a small data set.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "json_helpers.h"
#include "process.h"

namespace kvasir::tests {
namespace {

using testing::HasSubstr;

const std::string kHalfDev = std::string(KVASIR_TEST_DATA) + "/squad/dev-v2.0-half.json";
const std::string kMetrics = std::string(KVASIR_TEST_DATA) + "/squad-metrics/half-dev";

json::value score(std::vector<std::string> args) {
  args.insert(args.begin(), {"eval", "score", "--json"});
  const Outcome outcome = run({.args = args});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return base::parse_json(outcome.out, "output");
}

void expect_metrics(const json::value& got, const json::value& want) {
  for (const auto& [key, value] : want.as_object()) {
    ASSERT_TRUE(got.as_object().contains(key)) << key;
    EXPECT_NEAR(got.at(key).to_number<double>(), value.to_number<double>(), 1e-9) << key;
  }
}

TEST(EvalScore, EqualsTheOfficialScripts) {
  const json::value expected = fixture("squad-metrics/half-dev/expected.json").at("metrics");
  const std::vector<std::string> files = {"--data", kHalfDev, "--predictions",
                                          kMetrics + "/predictions.json"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), files.begin(), files.end());
    return score(more);
  };
  const std::string na_prob = kMetrics + "/na_prob.json";
  expect_metrics(with({}), expected.at("v2"));
  expect_metrics(with({"--metric", "v2.0", "--na-prob", na_prob}), expected.at("v2_with_na_prob"));
  expect_metrics(with({"--na-prob", na_prob, "--na-prob-thresh", "0.5"}),
                 expected.at("v2_with_na_prob_thresh_0.5"));
  expect_metrics(with({"--metric", "v1.1"}), expected.at("v1_1"));
}

TEST(EvalScore, PeopleSeeATable) {
  const Outcome outcome =
      run({.args = {"eval", "score", "--data", kHalfDev, "--predictions", kMetrics + "/predictions.json"}});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, testing::StartsWith("exact "));
  EXPECT_THAT(outcome.out, HasSubstr("54.50\n"));
  EXPECT_THAT(outcome.out, HasSubstr("5950"));
}

TEST(EvalScore, OptionsThatDoNotBelongTogether) {
  const std::vector<std::string> files = {"eval",   "score",         "--data",
                                          kHalfDev, "--predictions", kMetrics + "/predictions.json"};
  auto args = files;
  args.insert(args.end(), {"--na-prob-thresh", "0.5"});
  EXPECT_EQ(run({.args = args}).exit_code, 2);
  args = files;
  args.insert(args.end(), {"--metric", "v1.1", "--na-prob", kMetrics + "/na_prob.json"});
  EXPECT_EQ(run({.args = args}).exit_code, 2);
}

// --- eval squad
// -------------------------------------------------------------------------------------------------

constexpr const char* kData = R"({"version":"v2.0","data":[{"title":"t","paragraphs":[
 {"context":"The treaty was signed in Lund. It ended the war.","qas":[
  {"id":"a","question":"Where was the treaty signed?","answers":[{"text":"Lund","answer_start":25}],"is_impossible":false},
  {"id":"b","question":"Who designed the lighthouse?","answers":[],"is_impossible":true}]},
 {"context":"The lighthouse at Porthcawl was designed by Mary Ellen Rees in 1868. It stands 31 m tall.","qas":[
  {"id":"c","question":"Who designed the lighthouse?","answers":[{"text":"Mary Ellen Rees","answer_start":44}],"is_impossible":false}]}]}]})";

struct SquadRun {
  Outcome outcome;
  json::value metrics, predictions, na_prob;
};

SquadRun squad(const std::vector<std::string>& more) {
  const TemporaryFolder folder;
  const std::string data = folder.file("data.json", kData);
  const std::string predictions = folder.path() + "/predictions.json", na_prob = folder.path() + "/na.json";
  std::vector<std::string> args = {"eval",   "squad",         "--model",   tiny_model(),    "--data", data,
                                   "--json", "--predictions", predictions, "--na-prob-out", na_prob};
  args.insert(args.end(), more.begin(), more.end());
  SquadRun result;
  result.outcome = run({.args = args});
  EXPECT_EQ(result.outcome.exit_code, 0) << result.outcome.err;
  EXPECT_EQ(result.outcome.err, "");
  result.metrics = base::parse_json(result.outcome.out, "output");
  result.predictions = base::parse_json_file(predictions);
  result.na_prob = base::parse_json_file(na_prob);
  EXPECT_THAT(folder.names(), testing::UnorderedElementsAre("data.json", "predictions.json", "na.json"));
  return result;
}

std::string asked(const std::string& question, const std::string& context,
                  const std::vector<std::string>& more) {
  std::vector<std::string> args = {"ask",        "--json", "--decode", "squad",     "--model",
                                   tiny_model(), "-q",     question,   "--context", context};
  args.insert(args.end(), more.begin(), more.end());
  const json::value result = base::parse_json(run({.args = args}).out, "output");
  const json::array& answers = result.at("answers").as_array();
  return answers.empty() ? "empty" : text_of(answers[0].at("answer"));
}

TEST(EvalSquad, PredictsWhatAskAnswers) {
  const std::string where = "Where was the treaty signed?", who = "Who designed the lighthouse?";
  const std::string first = "The treaty was signed in Lund. It ended the war.";
  const std::string second =
      "The lighthouse at Porthcawl was designed by Mary Ellen Rees in 1868. It stands 31 m tall.";

  const SquadRun v2 = squad({});
  EXPECT_EQ(text_of(v2.predictions.at("a")), asked(where, first, {"--handle-impossible-answer"}));
  EXPECT_EQ(text_of(v2.predictions.at("b")), asked(who, first, {"--handle-impossible-answer"}));
  EXPECT_EQ(text_of(v2.predictions.at("c")), asked(who, second, {"--handle-impossible-answer"}));
  EXPECT_EQ(v2.predictions.as_object().size(), 3U);
  EXPECT_EQ(v2.na_prob.as_object().size(), 3U);
  for (const char* key : {"exact", "f1", "total", "HasAns_exact", "HasAns_f1", "HasAns_total", "NoAns_exact",
                          "NoAns_f1", "NoAns_total", "best_exact", "best_exact_thresh", "best_f1",
                          "best_f1_thresh", "answerable_exact_match", "answerable_f1", "questions", "windows",
                          "seconds", "questions_per_second"}) {
    EXPECT_TRUE(v2.metrics.as_object().contains(key)) << key;
  }
  EXPECT_EQ(v2.metrics.at("questions").to_number<int>(), 3);
  EXPECT_EQ(v2.metrics.at("HasAns_total").to_number<int>(), 2);

  const SquadRun v1 = squad({"--metric", "v1.1"});
  EXPECT_EQ(text_of(v1.predictions.at("a")), asked(where, first, {}));
  EXPECT_EQ(text_of(v1.predictions.at("c")), asked(who, second, {}));
  EXPECT_EQ(v1.predictions.as_object().size(), 2U);
  EXPECT_TRUE(v1.metrics.as_object().contains("exact_match"));
  EXPECT_EQ(v1.metrics.at("total").to_number<int>(), 2);
  EXPECT_EQ(v1.metrics.at("questions").to_number<int>(), 2);
}

// For want of a candidate run_qa predicts the word "empty", and so its scores are reproduced.
TEST(EvalSquad, NoCandidateIsTheWordEmpty) {
  const TemporaryFolder folder;
  const std::string out = folder.path() + "/predictions.json";
  std::size_t literal = 0;
  const json::value recorded = fixture("encoders-qa/bert-uncased/expected.json");
  for (const json::value& value : recorded.at("cases").as_array()) {
    const json::object& one = value.as_object();
    if (one.at("effective").at("max_seq_len").to_number<int>() != 128) continue;
    const std::string expected = text_of(one.at("run_qa").at("padded").at("v1").at("prediction"));
    const json::value question = {{"id", one.at("id")},
                                  {"question", one.at("question")},
                                  {"answers", {{{"text", "x"}, {"answer_start", 0}}}}};
    const json::value data = {
        {"data", {{{"paragraphs", {{{"context", one.at("context")}, {"qas", {question}}}}}}}}};
    const Outcome outcome =
        run({.args = {"eval", "squad", "--model", tiny_model(), "--data",
                      folder.file("data.json", json::serialize(data)), "--predictions", out, "--max-seq-len",
                      "128", "--doc-stride", "64", "--pad-to-max-length"}});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(text_of(base::parse_json_file(out).as_object().begin()->value()), expected)
        << text_of(one.at("id"));
    literal += expected == "empty" ? 1 : 0;
  }
  EXPECT_GT(literal, 0U);
}

TEST(EvalSquad, WhatCannotBeAskedIsNamedBeforeTheWork) {
  for (const auto& [context, question, message] : std::vector<std::array<std::string, 3>>{
           {"Lund.", "", "question q7 of the data: it is empty"},
           {"", "Where?", "question q7 of the data: its context is empty"}}) {
    const TemporaryFolder folder;
    const json::value data = {{"data",
                               {{{"paragraphs",
                                  {{{"context", context},
                                    {"qas",
                                     {{{"id", "q7"},
                                       {"question", question},
                                       {"answers", {{{"text", "x"}, {"answer_start", 0}}}}}}}}}}}}}};
    const Outcome outcome = run(
        {.args = {"eval", "squad", "--model", tiny_model(), "--data",
                  folder.file("data.json", json::serialize(data)), "--predictions", folder.path() + "/out"}});
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_THAT(outcome.err, HasSubstr(message));
    EXPECT_THAT(folder.names(), testing::ElementsAre("data.json"));
  }
}

TEST(EvalSquad, TheThresholdDecidesAboutNoAnswer) {
  const SquadRun never = squad({"--null-score-diff-threshold", "1000"});
  for (const auto& [id, text] : never.predictions.as_object())
    EXPECT_NE(text_of(text), "") << std::string(id);
  EXPECT_EQ(never.metrics.at("NoAns_exact").to_number<double>(), 0);
  const SquadRun always = squad({"--null-score-diff-threshold", "-1000"});
  for (const auto& [id, text] : always.predictions.as_object())
    EXPECT_EQ(text_of(text), "") << std::string(id);
  EXPECT_EQ(always.metrics.at("NoAns_exact").to_number<double>(), 100);
  // What the best threshold would give does not depend on the one that was used.
  for (const char* key : {"best_exact", "best_f1", "best_f1_thresh", "answerable_f1"}) {
    EXPECT_EQ(never.metrics.at(key), always.metrics.at(key)) << key;
  }
}

TEST(EvalSquad, EveryDecoder) {
  for (const char* decode : {"kvasir", "pipeline", "squad"}) {
    EXPECT_EQ(squad({"--decode", decode}).metrics.at("total").to_number<int>(), 3) << decode;
  }
}

TEST(EvalSquad, ResultsThatCannotBeWrittenFailBeforeTheWork) {
  const TemporaryFolder folder;
  const std::string data = folder.file("data.json", kData);
  const Outcome outcome = run({.args = {"eval", "squad", "--model", "/nonexistent", "--data", data,
                                        "--predictions", "/nonexistent/predictions.json"}});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("/nonexistent/predictions.json"));
}

TEST(EvalSquad, FaultsOfTheDataAreNamed) {
  const TemporaryFolder folder;
  for (const char* text :
       {"{}", "[1,2", "{\"data\":[{\"paragraphs\":[{\"context\":\"x\",\"qas\":[{\"id\":1}]}]}]}"}) {
    const Outcome outcome =
        run({.args = {"eval", "squad", "--model", tiny_model(), "--data", folder.file("data.json", text)}});
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_THAT(outcome.err, HasSubstr("data.json:"));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1);
  }
}

}  // namespace
}  // namespace kvasir::tests
