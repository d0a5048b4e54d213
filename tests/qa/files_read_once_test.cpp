// Model, tokenizer and calibration are loaded from the same files, which are opened once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "encoder_fixture.h"
#include "kvasir/reader.h"
#include "opened_files.h"

namespace kvasir::qa {
namespace {

using testing::Pair;
using testing::UnorderedElementsAre;

TEST(FilesReadOnce, OfAReader) {
  const tests::TemporaryFolder files;
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    std::filesystem::copy(tests::encoder_folder("bert-uncased") / name, files / name);
  }
  std::ofstream(files / "tokenizer_config.json") << R"({"do_lower_case": true})";  // names no class
  std::ofstream(files / "special_tokens_map.json") << R"({"cls_token": "[CLS]"})";
  std::ofstream(files / "kvasir_reader.json")
      << R"({"format_version": 1, "calibration": {"temperature": 1, "no_answer_bias": 0}})";
  tests::OpenedFiles opened(files.path());
  Reader::load(files.path(), {.threads = 1});
  EXPECT_THAT(opened.counts(),
              UnorderedElementsAre(Pair("config.json", 1), Pair("tokenizer.json", 1),
                                   Pair("tokenizer_config.json", 1), Pair("special_tokens_map.json", 1),
                                   Pair("kvasir_reader.json", 1), Pair("model.safetensors", 1)));
}

}  // namespace
}  // namespace kvasir::qa
