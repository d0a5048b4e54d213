#include "train/checkpoint_folder.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::train {
namespace {

namespace fs = std::filesystem;

void put(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

void make_checkpoint(const fs::path& path, std::string_view state = "{}") {
  fs::create_directories(path);
  put(path / "model.safetensors", "m");
  put(path / "optimizer.safetensors", "o");
  put(path / "trainer_state.json", state);
}

std::vector<std::string> names(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

std::vector<std::uint64_t> steps(const fs::path& folder) {
  std::vector<std::uint64_t> steps;
  for (const Checkpoint& checkpoint : list_checkpoints(folder)) steps.push_back(checkpoint.step);
  return steps;
}

using Names = std::vector<std::string>;
using Steps = std::vector<std::uint64_t>;

// The number of a process that has ended.
std::string dead_pid() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  return std::to_string(child);
}

TEST(FolderWriter, TheFolderAppearsWithCommit) {
  const tests::TemporaryFolder folder;
  const fs::path final_path = folder.path() / "out" / "checkpoint-5";
  FolderWriter writer(final_path);
  EXPECT_EQ(writer.path().filename(), ".checkpoint-5.tmp-" + std::to_string(::getpid()));
  EXPECT_EQ(writer.path().parent_path(), final_path.parent_path());
  fs::create_directories(writer.path() / "sub");
  put(writer.path() / "sub" / "file", "text");
  EXPECT_FALSE(fs::exists(final_path));
  writer.commit();
  EXPECT_EQ(names(folder / "out"), Names{"checkpoint-5"});
  EXPECT_EQ(base::read_file(final_path / "sub" / "file"), "text");
}

TEST(FolderWriter, WithoutCommitNothingStays) {
  const tests::TemporaryFolder folder;
  {
    const FolderWriter writer(folder / "checkpoint-5");
    put(writer.path() / "file", "text");
  }
  EXPECT_EQ(names(folder.path()), Names{});
}

TEST(FolderWriter, ReplacesWhatIsThere) {
  const tests::TemporaryFolder folder;
  make_checkpoint(folder / "checkpoint-5", "old");
  put(folder.path() / "checkpoint-5" / "extra", "");
  FolderWriter writer(folder.path() / "checkpoint-5" / "");
  make_checkpoint(writer.path(), "new");
  EXPECT_EQ(base::read_file(folder.path() / "checkpoint-5" / "trainer_state.json"), "old");
  writer.commit();
  EXPECT_EQ(names(folder.path()), Names{"checkpoint-5"});
  EXPECT_EQ(names(folder / "checkpoint-5"),
            (Names{"model.safetensors", "optimizer.safetensors", "trainer_state.json"}));
  EXPECT_EQ(base::read_file(folder.path() / "checkpoint-5" / "trainer_state.json"), "new");
}

TEST(FolderWriter, ACommitThatFailsLeavesWhatIsThere) {
  const tests::TemporaryFolder folder;
  make_checkpoint(folder / "checkpoint-5", "old");
  FolderWriter writer(folder / "checkpoint-5");
  fs::remove(writer.path());
  EXPECT_THROW(writer.commit(), Error);
  EXPECT_EQ(names(folder.path()), Names{"checkpoint-5"});
  EXPECT_EQ(base::read_file(folder.path() / "checkpoint-5" / "trainer_state.json"), "old");
}

TEST(FolderWriter, AFolderThatCannotBeMadeIsNamed) {
  const tests::TemporaryFolder folder;
  put(folder / "file", "");
  try {
    const FolderWriter writer(folder.path() / "file" / "checkpoint-5");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_EQ(error.what(), (folder / "file").string() + ": cannot be made: Not a directory");
  }
}

TEST(WriteFolder, SaysThatEarlierCheckpointsAreUntouched) {
  const tests::TemporaryFolder folder;
  make_checkpoint(folder / "checkpoint-5", "old");
  const fs::path path = folder / "checkpoint-5";
  try {
    write_folder(path, [](const fs::path& inside) {
      put(inside / "model.safetensors", "m");
      throw Error(ErrorCode::kIo,
                  (inside / "model.safetensors").string() + ": write failed: No space left on device");
    });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    const std::string message = error.what();
    EXPECT_TRUE(message.starts_with(path.string() + ": was not written (")) << message;
    EXPECT_NE(message.find("No space left on device"), std::string::npos) << message;
    EXPECT_TRUE(message.ends_with("; earlier checkpoints are untouched")) << message;
  }
  EXPECT_EQ(names(folder.path()), Names{"checkpoint-5"});
  EXPECT_EQ(base::read_file(path / "trainer_state.json"), "old");
  write_folder(path, [](const fs::path& inside) { make_checkpoint(inside, "new"); });
  EXPECT_EQ(base::read_file(path / "trainer_state.json"), "new");
}

TEST(WriteFolder, OtherErrorsStayWhatTheyAre) {
  const tests::TemporaryFolder folder;
  try {
    write_folder(folder / "checkpoint-5",
                 [](const fs::path&) { throw Error(ErrorCode::kInvalidArgument, "a name twice"); });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_STREQ(error.what(), "a name twice");
  }
  EXPECT_EQ(names(folder.path()), Names{});
}

TEST(Checkpoints, AreListedByStepIfComplete) {
  const tests::TemporaryFolder folder;
  for (const char* name : {"checkpoint-1000", "checkpoint-200", "checkpoint-50", "checkpoint-5x",
                           "checkpoint-", "other-7", ".checkpoint-9.tmp-1"}) {
    make_checkpoint(folder / name);
  }
  make_checkpoint(folder / "checkpoint-300");
  fs::remove(folder.path() / "checkpoint-300" / "trainer_state.json");
  put(folder / "checkpoint-400", "a file");
  EXPECT_EQ(steps(folder.path()), (Steps{50, 200, 1000}));
  EXPECT_EQ(list_checkpoints(folder.path())[0].path, folder / "checkpoint-50");
  EXPECT_EQ(steps(folder / "missing"), Steps{});
  EXPECT_THROW(list_checkpoints(folder / "checkpoint-400"), Error);
}

TEST(Checkpoints, AreCompleteWithThreeFiles) {
  for (const char* name : {"model.safetensors", "optimizer.safetensors", "trainer_state.json"}) {
    const tests::TemporaryFolder folder;
    make_checkpoint(folder.path());
    EXPECT_TRUE(is_complete(folder.path()));
    fs::remove(folder / name);
    EXPECT_FALSE(is_complete(folder.path())) << name;
  }
}

struct Rotation {
  std::size_t limit;
  const char* best;
  Steps left;
};

// The cases of transformers' Trainer._rotate_checkpoints.
TEST(Checkpoints, TheOldestGoFirst) {
  const std::vector<Rotation> cases = {
      {0, "", {1, 2, 3, 4, 5}},    {5, "", {1, 2, 3, 4, 5}},       {9, "checkpoint-1", {1, 2, 3, 4, 5}},
      {3, "", {3, 4, 5}},          {3, "checkpoint-1", {1, 4, 5}}, {3, "checkpoint-4", {3, 4, 5}},
      {2, "checkpoint-5", {4, 5}}, {2, "checkpoint-2", {2, 5}},    {1, "", {5}},
      {1, "checkpoint-5", {5}},    {1, "checkpoint-2", {2, 5}},    {1, "checkpoint-77", {5}},
  };
  for (const Rotation& rotation : cases) {
    const tests::TemporaryFolder folder;
    for (int step = 1; step <= 5; ++step) make_checkpoint(folder / ("checkpoint-" + std::to_string(step)));
    // By another name of the same folder, as a relative output_dir would be.
    const fs::path best = *rotation.best == 0 ? fs::path() : folder.path() / "." / rotation.best;
    const auto removed =
        remove_old_checkpoints(folder.path(), {.save_total_limit = rotation.limit, .best = best});
    EXPECT_EQ(steps(folder.path()), rotation.left) << rotation.limit << " " << rotation.best;
    EXPECT_EQ(removed.size(), 5 - rotation.left.size());
    EXPECT_EQ(names(folder.path()).size(), rotation.left.size());  // nothing hidden is left
  }
}

TEST(Leftovers, OfDeadRunsAreRemovedOrPutBack) {
  const tests::TemporaryFolder folder;
  const std::string dead = dead_pid();
  make_checkpoint(folder / "checkpoint-1");
  make_checkpoint(folder / (".checkpoint-2.tmp-" + dead));
  // Stopped between the renames: 3 was about to be replaced. 1 had been.
  make_checkpoint(folder / (".checkpoint-3.tmp-" + dead), "new");
  make_checkpoint(folder / (".checkpoint-3.old-" + dead), "old");
  make_checkpoint(folder / (".checkpoint-1.old-" + dead));
  make_checkpoint(folder / (".checkpoint-4.tmp-" + std::to_string(::getpid())));  // an earlier container's
  make_checkpoint(folder / ".hidden");
  make_checkpoint(folder / ".checkpoint-5.tmp-x");
  remove_leftovers(folder.path());
  EXPECT_EQ(names(folder.path()), (Names{".checkpoint-5.tmp-x", ".hidden", "checkpoint-1", "checkpoint-3"}));
  EXPECT_EQ(base::read_file(folder.path() / "checkpoint-3" / "trainer_state.json"), "old");
  remove_leftovers(folder / "missing");
}

TEST(Leftovers, OfRunningProcessesStay) {
  const tests::TemporaryFolder folder;
  const std::string name = ".checkpoint-2.tmp-" + std::to_string(::getppid());
  make_checkpoint(folder / name);
  remove_leftovers(folder.path());
  EXPECT_EQ(names(folder.path()), Names{name});
}

}  // namespace
}  // namespace kvasir::train
