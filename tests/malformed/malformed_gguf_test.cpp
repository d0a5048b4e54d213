// Malformed GGUF files: each is refused in one line that names it, and nothing worse happens.
#include "malformed/malformed_gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "formats/gguf.h"
#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::tests {
namespace {

std::string open_error(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  try {
    const formats::GgufFile file(path);
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::kFormat || error.code() == ErrorCode::kUnsupported)
        << error.what();
    return error.what();
  }
  return "none";
}

TEST(MalformedGguf, EachIsRefusedWithAReason) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "model.gguf";
  EXPECT_EQ(open_error(path, good_gguf()), "none");
  int files = 0;
  for_each_malformed_gguf([&](const MalformedFile& file) {
    SCOPED_TRACE(std::to_string(files++) + ": " + file.fault);
    const std::string error = open_error(path, file.bytes);
    EXPECT_THAT(error, testing::StartsWith(path.string()));
    EXPECT_GT(error.size(), path.string().size() + 10);
    EXPECT_EQ(error.find('\n'), std::string::npos);
  });
  EXPECT_GE(files, 150);
}

}  // namespace
}  // namespace kvasir::tests
