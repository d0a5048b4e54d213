// Model, tokenizer and chat template are loaded from the same files, which are opened once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/cpu.h"
#include "decoder_fixture.h"
#include "export/gguf_export.h"
#include "kvasir/generator.h"
#include "opened_files.h"
#include "temporary_folder.h"
#include "test_isa.h"

namespace kvasir::generation {
namespace {

using testing::Pair;
using testing::UnorderedElementsAre;
using tests::TemporaryFolder;

std::map<std::string, int> opened_by_loading(const std::filesystem::path& model,
                                             const std::filesystem::path& folder) {
  tests::OpenedFiles opened(folder);
  Generator::load(model, {.threads = 1, .isa = base::isa_name(tests::test_isa())});
  return opened.counts();
}

TEST(FilesReadOnce, OfAFolder) {
  const TemporaryFolder files;
  std::filesystem::copy(tests::decoder_folder("llama-gqa"), files.path());
  std::ofstream(files / "generation_config.json") << "{}";
  EXPECT_THAT(opened_by_loading(files.path(), files.path()),
              UnorderedElementsAre(Pair("config.json", 1), Pair("generation_config.json", 1),
                                   Pair("tokenizer_config.json", 1), Pair("tokenizer.json", 1),
                                   Pair("model.safetensors", 1)));
}

TEST(FilesReadOnce, OfAGgufFile) {
  const TemporaryFolder files;
  exporting::export_gguf(tests::decoder_folder("llama-gqa"), files / "m.gguf",
                         {.type = tensor::DType::kQ8_0, .threads = 1});
  EXPECT_THAT(opened_by_loading(files / "m.gguf", files.path()), UnorderedElementsAre(Pair("m.gguf", 1)));
  EXPECT_THAT(opened_by_loading(files.path(), files.path()), UnorderedElementsAre(Pair("m.gguf", 1)));
}

}  // namespace
}  // namespace kvasir::generation
