#include "train/learning_curves.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>

#include "base/mapped_file.h"
#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::train {
namespace {

namespace fs = std::filesystem;

TrainerState state(std::uint64_t steps) {
  TrainerState state;
  state.global_step = steps;
  for (std::uint64_t step = 1; step <= steps; ++step) {
    const double loss = step % 2 == 0 ? 2 : 4;
    state.log_history.push_back({.step = step, .values = {{"loss", loss}, {"learning_rate", 1e-5}}});
  }
  state.log_history.push_back({.step = steps, .values = {{"eval_f1", 80}, {"eval_exact_match", 70}}});
  return state;
}

std::string error_of(const fs::path& folder) {
  try {
    write_learning_curves(std::vector<fs::path>{folder}, folder / "curves.svg");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(LearningCurves, HaveAPanelEach) {
  const std::vector<NamedRun> runs = {{.name = "a", .state = state(100)}};
  const std::vector<Plot> plots = learning_curves(runs);
  ASSERT_EQ(plots.size(), 3U);
  EXPECT_EQ(plots[0].title, "Loss");
  ASSERT_EQ(plots[0].curves.size(), 2U);  // no evaluation's loss
  EXPECT_TRUE(plots[0].curves[0].is_raw);
  EXPECT_EQ(plots[0].curves[0].points[1], (std::pair<double, double>(2, 2)));
  EXPECT_EQ(plots[0].curves[1].name, "training");
  EXPECT_EQ(plots[1].title, "Learning rate");
  ASSERT_EQ(plots[1].curves.size(), 1U);
  EXPECT_EQ(plots[1].curves[0].points.size(), 100U);
  EXPECT_EQ(plots[2].title, "Evaluation");
  ASSERT_EQ(plots[2].curves.size(), 2U);
  EXPECT_EQ(plots[2].curves[0].name, "F1");
  EXPECT_EQ(plots[2].curves[0].points, (Points{{100, 80}}));
  EXPECT_EQ(plots[2].curves[1].name, "exact match");
  EXPECT_EQ(plots[2].curves[1].points, (Points{{100, 70}}));
}

TEST(LearningCurves, OfSeveralRunsAreNamed) {
  const std::vector<NamedRun> runs = {{.name = "a", .state = state(5)}, {.name = "b", .state = state(5)}};
  const std::vector<Plot> plots = learning_curves(runs);
  ASSERT_EQ(plots[0].curves.size(), 2U);  // too few to smooth
  EXPECT_EQ(plots[0].curves[0].name, "a: training");
  EXPECT_EQ(plots[0].curves[1].name, "b: training");
  EXPECT_EQ(plots[1].curves[1].name, "b");
}

TEST(LearningCurves, AreSmoothedByTheMeanAround) {
  Points points;
  for (int i = 0; i < 80; ++i) points.emplace_back(i, i % 2 == 0 ? 4 : 2);
  const Points smooth = smoothed(points);
  ASSERT_EQ(smooth.size(), 80U);
  EXPECT_EQ(smooth[0].second, 4);
  EXPECT_EQ(smooth[79].second, 2);
  EXPECT_NEAR(smooth[1].second, 10.0 / 3, 1e-12);  // 4 2 4
  EXPECT_NEAR(smooth[2].second, 16.0 / 5, 1e-12);  // 4 2 4 2 4
  EXPECT_NEAR(smooth[41].second, 14.0 / 5, 1e-12);
  EXPECT_EQ(smooth[41].first, 41);
  points.resize(19);
  EXPECT_EQ(smoothed(points), points);
}

TEST(LearningCurves, AreOfTheNewestCheckpointWhileARunTrains) {
  const tests::TemporaryFolder folder;
  for (const std::uint64_t step : {5U, 40U, 200U}) {
    const fs::path checkpoint = folder / ("checkpoint-" + std::to_string(step));
    fs::create_directories(checkpoint);
    write_trainer_state(checkpoint / "trainer_state.json", state(step));
    std::ofstream(checkpoint / "model.safetensors") << "m";
    if (step < 200) std::ofstream(checkpoint / "optimizer.safetensors") << "o";
  }
  EXPECT_EQ(read_state_of_run(folder.path()).global_step, 40U);
  write_trainer_state(folder / "trainer_state.json", state(7));
  EXPECT_EQ(read_state_of_run(folder.path()).global_step, 7U);
}

TEST(LearningCurves, AreWritten) {
  const tests::TemporaryFolder folder;
  write_trainer_state(folder / "trainer_state.json", state(50));
  EXPECT_EQ(error_of(folder.path() / ""), "");
  const std::string one = base::read_file(folder / "curves.svg");
  EXPECT_TRUE(one.starts_with("<svg ")) << one;
  EXPECT_NE(one.find("<title>Loss, Learning rate, Evaluation</title>"), std::string::npos);
  // The folder names the run.
  write_learning_curves(std::vector<fs::path>{folder.path() / "", folder.path()}, folder / "curves.svg");
  const std::string two = base::read_file(folder / "curves.svg");
  EXPECT_NE(two.find(">" + folder.path().filename().string() + ": F1<"), std::string::npos) << two;
}

TEST(LearningCurves, SayWhatIsMissing) {
  const tests::TemporaryFolder folder;
  EXPECT_EQ(error_of(folder.path()), folder.path().string() +
                                         ": neither trainer_state.json nor a complete checkpoint-N is in it; "
                                         "name the output_dir of a run");
  TrainerState nothing;
  nothing.log_history = {{.step = 1, .values = {{"loss", NAN}, {"train_runtime", 5}}}};
  write_trainer_state(folder / "trainer_state.json", nothing);
  EXPECT_TRUE(error_of(folder.path()).starts_with("nothing was logged that has a curve"));
}

}  // namespace
}  // namespace kvasir::train
