// Classification heads of families, and settings, that tests/data/rerankers lacks, against transformers.
#include "models/head.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/json.h"
#include "kvasir/error.h"
#include "models/encoder_model.h"
#include "temporary_folder.h"
#include "test_isa.h"

namespace kvasir::models {
namespace {

std::filesystem::path folder_of(const std::string& name) {
  return std::filesystem::path(KVASIR_TEST_DATA) / "classifiers" / name;
}

struct Loaded {
  const kernels::Kernels& kernels = kernels::kernels_for(tests::test_isa());
  base::ThreadPool pool{2};
  tensor::Workspace workspace;
  EncoderModel model;

  explicit Loaded(const std::filesystem::path& folder)
      : model(load_encoder_model(folder, Task::kSequenceClassification, {.kernels = kernels, .pool = pool})) {
  }

  // Of several sequences in one batch: [sequences, labels].
  std::vector<float> run(const std::vector<std::vector<std::int32_t>>& sequences) {
    std::vector<std::int32_t> ids, ends = {0}, firsts;
    for (const auto& sequence : sequences) {
      firsts.push_back(static_cast<std::int32_t>(ids.size()));
      ids.insert(ids.end(), sequence.begin(), sequence.end());
      ends.push_back(static_cast<std::int32_t>(ids.size()));
    }
    tensor::RaggedBatch batch{.input_ids = ids, .token_type_ids = {}, .cu_seqlens = ends, .key_lengths = {}};
    if (model.head->reads_first_tokens_only()) batch.wanted = firsts;
    std::vector<float> logits(sequences.size() * model.head->columns());
    ForwardContext context{.kernels = kernels, .pool = pool, .workspace = workspace};
    model.run(batch, context, logits);
    return logits;
  }
};

class Classifier : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, Classifier,
                         testing::Values("albert", "mpnet", "mobilebert", "mobilebert-no-dense",
                                         "deberta-v2-conv", "modernbert-biases"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST_P(Classifier, EqualsTheReference) {
  Loaded loaded(folder_of(GetParam()));
  const base::json::value file = base::parse_json_file(folder_of(GetParam()) / "expected.json");
  std::vector<std::vector<std::int32_t>> sequences;
  std::vector<double> expected;
  for (const auto& sequence : file.at("sequences").as_array()) {
    std::vector<std::int32_t>& ids = sequences.emplace_back();
    for (const auto& id : sequence.at("input_ids").as_array()) ids.push_back(id.to_number<std::int32_t>());
    for (const auto& logit : sequence.at("logits").as_array()) expected.push_back(logit.to_number<double>());
  }
  const std::vector<float> together = loaded.run(sequences);
  ASSERT_EQ(together.size(), expected.size());
  double largest = 1;
  for (const double x : expected) largest = std::max(largest, std::abs(x));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(static_cast<double>(together[i]), expected[i], 1e-5 * largest) << i;
  }
  std::vector<float> alone;
  for (const auto& sequence : sequences) {
    const std::vector<float> own = loaded.run({sequence});
    alone.insert(alone.end(), own.begin(), own.end());
  }
  EXPECT_EQ(alone, together);
}

TEST(Head, RefusesImpossibleLabels) {
  const tests::TemporaryFolder folder;
  std::filesystem::copy(folder_of("albert"), folder.path(), std::filesystem::copy_options::recursive);
  const base::json::value original = base::parse_json_file(folder / "config.json");
  const auto error_with = [&](const char* key, const base::json::value& value) -> std::string {
    base::json::value config = original;
    config.as_object()[key] = value;
    std::ofstream(folder / "config.json") << base::json::serialize(config);
    try {
      Loaded loaded(folder.path());
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  };
  using testing::HasSubstr;
  EXPECT_THAT(error_with("id2label", base::json::object{}),
              HasSubstr("key id2label is not an object with a name"));
  EXPECT_THAT(error_with("id2label", base::json::array{"a"}), HasSubstr("key id2label"));
  EXPECT_THAT(error_with("id2label", base::json::object{{"0", "a"}, {"1", "b"}}),
              HasSubstr("classifier.weight has shape [3, 16], but labels of id2label = 2"));
}

}  // namespace
}  // namespace kvasir::models
