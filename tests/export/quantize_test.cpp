// kvasir quantize: the folder that it writes, and what it refuses.
#include "export/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "encoder_fixture.h"
#include "formats/safetensors.h"
#include "kvasir/error.h"
#include "runtime/engine.h"
#include "test_isa.h"

namespace kvasir::exporting {
namespace {

using testing::HasSubstr;
using tests::TemporaryFolder;

std::vector<Sample> samples_of(const std::string& name) {
  std::vector<Sample> samples;
  for (const tests::Window& window : tests::load_windows(name)) {
    samples.push_back({.input_ids = window.input_ids, .token_type_ids = window.token_type_ids});
  }
  return samples;
}

std::vector<float> logits(const std::filesystem::path& folder, const std::vector<Sample>& samples,
                          models::Precision precision) {
  const runtime::Engine engine =
      runtime::Engine::load(folder, models::Task::kQuestionAnswering,
                            {.threads = 2, .isa = tests::test_isa(), .precision = precision});
  std::vector<runtime::Sequence> sequences;
  for (const Sample& s : samples)
    sequences.push_back({.input_ids = s.input_ids, .token_type_ids = s.token_type_ids});
  std::vector<float> all;
  engine.run(sequences, [&](std::size_t, std::span<const float> outputs) {
    all.insert(all.end(), outputs.begin(), outputs.end());
  });
  return all;
}

// Root mean square, of a or of a - b.
double size(const std::vector<float>& a, const std::vector<float>& b = {}) {
  double squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    squares += std::pow(static_cast<double>(a[i]) - (b.empty() ? 0 : static_cast<double>(b[i])), 2);
  }
  return std::sqrt(squares / static_cast<double>(a.size()));
}

class Quantize : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Families, Quantize, testing::Values("bert-uncased", "albert", "modernbert"),
                         [](const auto& test) { return std::string(test.param).substr(0, 4); });

TEST_P(Quantize, WritesAFolderThatAnswersAlike) {
  const std::filesystem::path from = tests::encoder_folder(GetParam());
  const TemporaryFolder folder;
  const std::filesystem::path to = folder / "new" / "int8";
  const std::vector<Sample> samples = samples_of(GetParam());
  std::size_t told = 0;
  const QuantizeReport report =
      quantize(from, to, samples, {.max_error = 1, .threads = 2, .isa = tests::test_isa()},
               [&](std::size_t done, std::size_t all) {
                 EXPECT_EQ(++told, done);
                 EXPECT_EQ(all, samples.size());
               });
  EXPECT_EQ(told, samples.size());
  EXPECT_LT(report.bytes_after, report.bytes_before);
  std::size_t int8 = 0;
  for (const QuantizedLayer& layer : report.layers) {
    EXPECT_GT(layer.error, 0) << layer.name;
    EXPECT_LT(layer.error, 0.2) << layer.name;
    int8 += layer.int8 ? 1 : 0;
  }
  EXPECT_GT(int8, 0U);
  EXPECT_LT(int8, report.layers.size());  // not the head
  EXPECT_TRUE(std::filesystem::exists(to / "tokenizer.json"));

  const std::vector<float> before = logits(from, samples, models::Precision::kFp32);
  const std::vector<float> after = logits(to, samples, models::Precision::kAuto);
  EXPECT_LT(size(after, before), 0.25 * size(before));
  EXPECT_NE(after, logits(to, samples, models::Precision::kFp32));
}

TEST(QuantizeOptions, MatricesWithTooLargeErrorsStayFloats) {
  const TemporaryFolder folder;
  const QuantizeReport report = quantize(tests::encoder_folder("bert-uncased"), folder / "q",
                                         samples_of("bert-uncased"), {.max_error = 0, .threads = 1});
  for (const QuantizedLayer& layer : report.layers) EXPECT_FALSE(layer.int8);
  const formats::SafetensorsFile file(folder / "q" / "model.safetensors");
  EXPECT_EQ(file.tensors().at("bert.encoder.layer.0.output.dense.weight").dtype, tensor::DType::kF16);
  EXPECT_EQ(file.tensors().at("bert.embeddings.word_embeddings.weight").dtype, tensor::DType::kI8);
}

TEST(QuantizeOptions, HalfPrecision) {
  const TemporaryFolder folder;
  const QuantizeReport report = quantize(tests::encoder_folder("bert-uncased"), folder / "h", {},
                                         {.precision = StoredPrecision::kFp16, .threads = 1});
  EXPECT_EQ(report.bytes_after * 2, report.bytes_before);
  const std::vector<Sample> samples = samples_of("bert-uncased");
  const std::vector<float> before =
      logits(tests::encoder_folder("bert-uncased"), samples, models::Precision::kFp32);
  EXPECT_LT(size(logits(folder / "h", samples, models::Precision::kAuto), before), 0.01 * size(before));
}

std::string error_of(const std::filesystem::path& from, const std::filesystem::path& to,
                     const std::vector<Sample>& samples) {
  try {
    quantize(from, to, samples, {.threads = 1});
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

TEST(QuantizeErrors, AreClearAndLeaveNothing) {
  const TemporaryFolder folder;
  const std::vector<Sample> samples = samples_of("bert-uncased");
  const std::filesystem::path from = tests::encoder_folder("bert-uncased");
  EXPECT_THAT(error_of(folder / "none", folder / "a", samples), HasSubstr("config.json"));
  EXPECT_THAT(error_of(from, folder / "a", {}), HasSubstr("no text"));
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
  std::ofstream(folder / "mine.txt") << "text";
  EXPECT_THAT(error_of(from, folder.path(), samples), HasSubstr("is not empty"));
  EXPECT_EQ(error_of(from, folder / "q", samples), "none");
  EXPECT_THAT(error_of(folder / "q", folder / "again", samples), HasSubstr("quantised already"));
}

}  // namespace
}  // namespace kvasir::exporting
