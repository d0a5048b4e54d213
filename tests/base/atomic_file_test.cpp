#include "base/atomic_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "kvasir/error.h"

namespace kvasir::base {
namespace {

namespace fs = std::filesystem;

class AtomicFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "kvasir-atomic.XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override { fs::remove_all(folder); }

  static void put(const fs::path& path, const std::string& text) {
    AtomicFile file(path);
    file.write(text);
    file.commit();
  }
  static std::string read(const fs::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
    return names;
  }

  fs::path folder;
};

TEST_F(AtomicFileTest, WithoutCommitNothingChanges) {
  put(folder / "a", "before");
  {
    AtomicFile file(folder / "a");
    file.write("half");
  }
  EXPECT_EQ(read(folder / "a"), "before");
  EXPECT_THAT(names(), testing::ElementsAre("a"));
}

TEST_F(AtomicFileTest, ALinkStaysAndItsTargetIsReplaced) {
  fs::create_directory(folder / "there");
  put(folder / "there/target", "before");
  fs::create_symlink("there/target", folder / "link");
  put(folder / "link", "after");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(read(folder / "there/target"), "after");
  EXPECT_THAT(names(), testing::UnorderedElementsAre("link", "there"));
}

// As root, a file in the place of /dev/null would be the end of the system.
TEST_F(AtomicFileTest, APipeIsWrittenToAndStays) {
  const fs::path pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(is_special_file(pipe));
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  put(pipe, "text");
  char buffer[16];
  EXPECT_EQ(::read(reader, buffer, sizeof buffer), 4);
  ::close(reader);
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_THAT(names(), testing::ElementsAre("pipe"));
}

TEST_F(AtomicFileTest, OnlyDevicesAndPipesAreSpecial) {
  put(folder / "a", "text");
  EXPECT_FALSE(is_special_file(folder / "a"));
  EXPECT_FALSE(is_special_file(folder));
  EXPECT_FALSE(is_special_file(folder / "missing"));
  EXPECT_TRUE(is_special_file("/dev/null"));
}

TEST_F(AtomicFileTest, NoNameAndAFolderAreRefused) {
  EXPECT_THROW(AtomicFile(fs::path()), Error);
  EXPECT_THROW(AtomicFile{folder}, Error);
  EXPECT_THROW(AtomicFile(folder / "missing/a"), Error);
}

}  // namespace
}  // namespace kvasir::base
