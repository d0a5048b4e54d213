#include "train/append_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <string>

#include "base/mapped_file.h"
#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::train {
namespace {

TEST(AppendFile, OpensInThreeWays) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "file";
  AppendFile(path, AppendFile::Open::kNew).append("a");
  EXPECT_THROW(AppendFile(path, AppendFile::Open::kNew), Error);
  AppendFile(path, AppendFile::Open::kContinue).append("b");
  EXPECT_EQ(base::read_file(path), "ab");
  AppendFile(path, AppendFile::Open::kEmpty).append("c");
  EXPECT_EQ(base::read_file(path), "c");
}

TEST(AppendFile, CutsAndGoesOn) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "file";
  AppendFile file(path, AppendFile::Open::kEmpty);
  file.append("abcdef");
  file.cut(9);
  EXPECT_EQ(base::read_file(path), "abcdef");
  file.cut(2);
  file.append("x");
  EXPECT_EQ(base::read_file(path), "abx");
}

// A limit to the size of files breaks off a write as a full disk does.
TEST(AppendFile, ARecordIsThereWholeOrNotAtAll) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "file";
  AppendFile file(path, AppendFile::Open::kEmpty);
  file.append(std::string(90, 'a'));
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit = {.rlim_cur = 100, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::string message;
  try {
    file.append(std::string(20, 'b'));
  } catch (const Error& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(message, path.string() + ": write failed: File too large");
  EXPECT_EQ(base::read_file(path), std::string(90, 'a'));
  file.append("c");
  EXPECT_EQ(base::read_file(path), std::string(90, 'a') + "c");
}

TEST(AppendFile, NamesAFileThatCannotBeWritten) {
  const tests::TemporaryFolder folder;
  try {
    const AppendFile file(folder.path(), AppendFile::Open::kContinue);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_EQ(error.what(), folder.path().string() + ": cannot be written: Is a directory");
  }
}

}  // namespace
}  // namespace kvasir::train
