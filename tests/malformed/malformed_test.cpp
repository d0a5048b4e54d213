// More than 500 malformed files: each is refused in one line that names it, and nothing worse happens.
#include "malformed/malformed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "kvasir/reader.h"
#include "temporary_folder.h"

namespace kvasir::tests {
namespace {

using testing::HasSubstr;

const std::filesystem::path kModel = std::filesystem::path(KVASIR_TEST_DATA) / "encoders-qa/bert-uncased";

std::string load_error(const std::filesystem::path& folder) {
  try {
    Reader::load(folder, {.threads = 1});
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
    return error.what();
  }
  return "none";
}

TEST(Malformed, GoodFilesAreGood) {
  const TemporaryFolder folder;
  for (const char* kind : {"safetensors", "zip", "legacy", "index", "config", "tokenizer"}) {
    write_malformed(kModel, good_file(kModel, kind), folder / kind);
    EXPECT_EQ(load_error(folder / kind), "none") << kind;
  }
}

TEST(Malformed, EachIsRefusedWithAReason) {
  const TemporaryFolder folder;
  std::map<std::string, int> count;
  for_each_malformed(kModel, [&](const MalformedFile& file) {
    SCOPED_TRACE(file.kind + " " + std::to_string(count[file.kind]) + ": " + file.fault);
    ++count[file.kind];
    write_malformed(kModel, file, folder / "model");
    const std::string error = load_error(folder / "model");
    EXPECT_THAT(error, HasSubstr((folder / "model").string()));  // the file, or the one that contradicts it
    EXPECT_GT(error.size(), (folder / "model" / "config.json").string().size() + 10);
    EXPECT_EQ(error.find('\n'), std::string::npos);
  });
  int total = 0;
  for (const auto& [kind, files] : count) {
    EXPECT_GE(files, 50) << kind;
    total += files;
  }
  EXPECT_EQ(count.size(), 6U);
  EXPECT_GE(total, 500);
  RecordProperty("files", total);
}

}  // namespace
}  // namespace kvasir::tests
