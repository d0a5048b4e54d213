// Model folders as the versions of transformers write them. (The golden folders were saved by 4.57.)
#include <gtest/gtest.h>

#include "kvasir/reader.h"
#include "qa_fixtures.h"
#include "temporary_folder.h"
#include "test_isa.h"

namespace kvasir::tests {
namespace {

// transformers 5 saves no vocab.txt, special_tokens_map.json and added_tokens.json, and other keys in the
// configs. model.safetensors and tokenizer.json are byte for byte those of 4.57.
TEST(SavedFolders, Transformers5) {
  const std::filesystem::path data = KVASIR_TEST_DATA;
  const TemporaryFolder folder;
  for (const char* name : {"config.json", "tokenizer_config.json"}) {
    std::filesystem::copy_file(data / "checkpoints/saved-by-transformers-5" / name, folder.path() / name);
  }
  for (const char* name : {"model.safetensors", "tokenizer.json"}) {
    std::filesystem::copy_file(data / "encoders-qa/bert-uncased" / name, folder.path() / name);
  }
  const Reader reader = Reader::load(folder.path(), {.threads = 2, .isa = base::isa_name(test_isa())});
  const GoldenModel model = read_golden_model(data / "encoders-qa/bert-uncased");
  ASSERT_EQ(model.cases.size(), 26U);
  for (const GoldenCase& golden : model.cases) {
    AskOptions options = golden.options;
    options.decode = Decode::kPipeline;
    const AskResult result = reader.ask(golden.question, reader.prepare(golden.context), options);
    ASSERT_EQ(result.answers.size(), golden.pipeline.size()) << golden.id;
    for (std::size_t i = 0; i < result.answers.size(); ++i) {
      expect_close(result.answers[i].score, golden.pipeline[i].score);
      EXPECT_EQ(result.answers[i].text, golden.pipeline[i].text) << golden.id;
    }
  }
}

}  // namespace
}  // namespace kvasir::tests
