// Encoder and tokenizer are loaded from the same files, which are opened once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kvasir/embedder.h"
#include "opened_files.h"
#include "temporary_folder.h"

namespace kvasir::embedding {
namespace {

TEST(FilesReadOnce, OfASentenceModel) {
  const tests::TemporaryFolder model;  // of its own: other tests open the files of tests/data
  std::filesystem::copy(std::filesystem::path(KVASIR_TEST_DATA) / "sentence-models" / "bert-mean-norm",
                        model.path(), std::filesystem::copy_options::recursive);
  tests::OpenedFiles opened(model.path());
  Embedder::load(model.path(), {.threads = 1});
  for (const auto& [name, count] : opened.counts()) EXPECT_EQ(count, 1) << name;
  EXPECT_EQ(opened.counts().count("model.safetensors"), 1U);
}

}  // namespace
}  // namespace kvasir::embedding
