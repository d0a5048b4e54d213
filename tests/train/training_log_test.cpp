#include "train/training_log.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>

#include "base/mapped_file.h"
#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::train {
namespace {

void put(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string error_of(const std::filesystem::path& path) {
  try {
    read_training_log(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(TrainingLog, WritesALineAStepAtOnce) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "log.jsonl";
  put(path, "what was there before\n");
  TrainingLog log(path);
  log.write({.step = 1, .values = {{"loss", 5.5}, {"learning_rate", 5e-5}, {"tokens_per_second", 1800}}});
  EXPECT_EQ(base::read_file(path),
            "{\"step\":1,\"loss\":5.5,\"learning_rate\":5e-05,\"tokens_per_second\":1800.0}\n");
  log.write({.step = 2, .values = {{"loss", NAN}, {"a \"name\"\n", 1}}});
  EXPECT_EQ(base::read_file(path).substr(71), "{\"step\":2,\"loss\":null,\"a \\\"name\\\"\\n\":1.0}\n");
}

TEST(TrainingLog, ReadsBackExactly) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "log.jsonl";
  const std::vector<std::pair<std::string, double>> values = {
      {"loss", 0.1 + 0.2}, {"a", 5e-324}, {"b", 1.7976931348623157e308}, {"c", 4.35e-5 / 3}, {"d", -0.0}};
  TrainingLog(path).write({.step = 7, .values = values});
  const std::vector<LogLine> lines = read_training_log(path);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].step, 7U);
  EXPECT_EQ(lines[0].values, values);
  EXPECT_TRUE(std::signbit(lines[0].values[4].second));
  put(path, "{\"step\":1,\"loss\":null}\n");
  EXPECT_TRUE(std::isnan(read_training_log(path)[0].values[0].second));
}

TEST(TrainingLog, ResumeCutsWhatTheCheckpointDoesNotHave) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "log.jsonl";
  const std::string kept =
      "{\"step\":1,\"loss\":3.0}\n{\"step\":2,\"loss\":2.0}\n{\"step\":2,\"eval_f1\":50.0}\n";
  put(path, kept + "{\"step\":3,\"loss\":1.0}\n{\"step\":4,\"lo");
  TrainingLog(path, 2).write({.step = 3, .values = {{"loss", 1.5}}});
  EXPECT_EQ(base::read_file(path), kept + "{\"step\":3,\"loss\":1.5}\n");
}

TEST(TrainingLog, ResumeDropsHalfALine) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "log.jsonl";
  put(path, "{\"step\":1,\"loss\":3.0}\n{\"step\":2,\"loss\":2.0}");
  EXPECT_EQ(read_training_log(path).size(), 1U);
  TrainingLog(path, 5).write({.step = 2});
  EXPECT_EQ(base::read_file(path), "{\"step\":1,\"loss\":3.0}\n{\"step\":2}\n");
  put(path, "{\"st");
  TrainingLog(path, 5).write({.step = 1});
  EXPECT_EQ(base::read_file(path), "{\"step\":1}\n");
}

TEST(TrainingLog, ResumeBeginsALogThatIsNotThere) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "log.jsonl";
  TrainingLog(path, 5).write({.step = 6});
  EXPECT_EQ(base::read_file(path), "{\"step\":6}\n");
}

TEST(TrainingLog, ErrorsNameFileAndLine) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "log.jsonl";
  put(path, "{\"step\":1}\n{\"step\":2,\"loss\":\"low\"}\n");
  EXPECT_EQ(error_of(path), path.string() + ":2: key loss is a string where a number is due");
  put(path, "{\"step\":1}\n\n");
  EXPECT_EQ(error_of(path), path.string() + ":2: not valid JSON: incomplete JSON");
  put(path, "{\"step\":1} {}\n");
  EXPECT_EQ(error_of(path), path.string() + ":1: not valid JSON: something follows the end of the value");
  put(path, "{\"step\":-1}\n");
  EXPECT_NE(error_of(path).find(":1: key step = -1 is out of range"), std::string::npos) << error_of(path);
  put(path, "{\"loss\":1}\n");
  EXPECT_EQ(error_of(path), path.string() + ":1: key step is missing");
  put(path, "{\"step\":1,\"loss\":" + std::string(200, '[') + "\n");
  EXPECT_NE(error_of(path).find(":1: not valid JSON"), std::string::npos) << error_of(path);
  EXPECT_NE(error_of(folder / "missing.jsonl"), "");
}

// A device that is always full: writing fails as on a full disk.
TEST(TrainingLog, AFullDiskIsAnErrorThatNamesTheFile) {
  TrainingLog log("/dev/full");
  try {
    log.write({.step = 1});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_STREQ(error.what(), "/dev/full: write failed: No space left on device");
  }
}

}  // namespace
}  // namespace kvasir::train
