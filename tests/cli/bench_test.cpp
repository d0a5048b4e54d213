// kvasir bench: that it measures what it says. The numbers themselves are for people.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "json_helpers.h"
#include "process.h"

namespace kvasir::tests {
namespace {

TEST(Bench, ReportsEverySection) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "packs gigabytes of weights: ten minutes, for kernels that their own tests check";
#endif
  const Outcome outcome = run({.args = {"bench", "--json", "--threads", "1", "--model", tiny_model()}});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json::value report = base::parse_json(outcome.out, "output");
  EXPECT_EQ(report.at("threads").to_number<int>(), 1);
  std::set<std::string> sections;
  for (const json::value& figure : report.at("figures").as_array()) {
    sections.insert(text_of(figure.at("section")));
    EXPECT_GT(figure.at("value").to_number<double>(), 0) << text_of(figure.at("name"));
    EXPECT_FALSE(text_of(figure.at("unit")).empty());
  }
  sections.erase("Matrix products, bf16");  // not on every machine
  EXPECT_THAT(sections,
              testing::ElementsAre("Callers at the same time, one sequence of 40 to 384 tokens each",
                                   "Decoding with weights as stored", "Encoder latency, one sequence",
                                   "Encoder throughput, mixed lengths", "Matrix products, fp32",
                                   "Matrix products, int8", "Model", "Prompts with weights as stored",
                                   "Tokenizer, one thread"));
}

TEST(Bench, ReportsLanguageModels) {
  const Outcome outcome =
      run({.args = {"bench", "--model", std::string(KVASIR_TEST_DATA) + "/decoders/mpt", "--json"}});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json::value report = base::parse_json(outcome.out, "output");
  std::set<std::string> names;
  for (const json::value& figure : report.at("figures").as_array()) {
    names.insert(text_of(figure.at("section")) + ", " + text_of(figure.at("name")));
    EXPECT_GT(figure.at("value").to_number<double>(), 0) << text_of(figure.at("name"));
  }
  // The context of this model is 256 tokens, and prompts are half of it.
  EXPECT_THAT(
      names, testing::ElementsAre(
                 "Language model, prompts, 128 tokens", "Language model, time to the first token, 128 tokens",
                 "Language model, time to the first token, 16 tokens after 128 known ones",
                 "Language model, writing, 1 sequence", "Language model, writing, 8 sequences",
                 "Language model, writing, read bandwidth", "Language model, writing, weights", "Model, load",
                 "Model, parameters"));
}

}  // namespace
}  // namespace kvasir::tests
