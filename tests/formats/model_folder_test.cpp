#include "formats/model_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "formats/gguf.h"
#include "kvasir/error.h"
#include "malformed/gguf_writer.h"
#include "temporary_folder.h"

namespace kvasir::formats {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using tests::TemporaryFolder;

template <class Function>
std::string error_of(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

void write(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}
std::string small_gguf() {
  return tests::gguf::write({.metadata = {tests::gguf::string("general.architecture", "llama")}});
}

TEST(ModelFolder, KeepsWhatItHasRead) {
  const TemporaryFolder files;
  write(files / "config.json", R"({"model_type": "bert"})");
  const ModelFolder folder(files.path());
  EXPECT_EQ(folder.config().string("model_type"), "bert");
  write(files / "config.json", R"({"model_type": "llama"})");
  EXPECT_EQ(folder.config().string("model_type"), "bert");
  EXPECT_EQ(folder.json("config.json")->string("model_type"), "bert");
  EXPECT_FALSE(folder.has("tokenizer_config.json"));
  EXPECT_FALSE(folder.json("tokenizer_config.json"));
  EXPECT_EQ(folder.gguf(), nullptr);
}

TEST(ModelFolder, ErrorsNameTheFile) {
  const TemporaryFolder files;
  const ModelFolder folder(files.path());
  EXPECT_THAT(error_of([&] { folder.config(); }), AllOf(StartsWith("not_found: "), HasSubstr("config.json")));
  write(files / "config.json", "[]");
  EXPECT_THAT(error_of([&] { folder.config(); }), HasSubstr("config.json: is a list where an object is due"));
  write(files / "generation_config.json", "{");
  EXPECT_THAT(error_of([&] { folder.json("generation_config.json"); }),
              HasSubstr("generation_config.json:1: not valid JSON"));
}

TEST(ModelFolder, FindsTheGgufFile) {
  const TemporaryFolder files;
  EXPECT_EQ(ModelFolder(files.path()).gguf_path(), std::nullopt);
  write(files / "a.gguf", small_gguf());
  EXPECT_EQ(ModelFolder(files.path()).gguf_path(), files / "a.gguf");
  EXPECT_EQ(ModelFolder(files / "a.gguf").gguf_path(), files / "a.gguf");
  EXPECT_EQ(ModelFolder(files / "b.gguf").gguf_path(), files / "b.gguf");  // which opening will miss
  EXPECT_THAT(error_of([&] { ModelFolder(files / "b.gguf").gguf(); }), StartsWith("not_found: "));
  write(files / "b.gguf", "");
  EXPECT_THAT(error_of([&] { ModelFolder(files.path()).gguf_path(); }),
              AllOf(StartsWith("invalid_argument: "), HasSubstr("holds several models (a.gguf, …)")));
  write(files / "config.json", "{}");
  EXPECT_EQ(ModelFolder(files.path()).gguf_path(), std::nullopt);
}

TEST(ModelFolder, OpensTheGgufFileOnce) {
  const TemporaryFolder files;
  write(files / "a.gguf", small_gguf());
  const ModelFolder folder(files.path());
  const std::shared_ptr<const GgufFile> file = folder.gguf();
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(file->metadata().string("general.architecture"), "llama");
  EXPECT_EQ(folder.gguf(), file);
}

}  // namespace
}  // namespace kvasir::formats
