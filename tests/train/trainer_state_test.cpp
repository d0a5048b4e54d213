#include "train/trainer_state.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <random>
#include <string>

#include "base/mapped_file.h"
#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::train {
namespace {

// What transformers 4.57.6 writes of the state below.
constexpr const char* kReference = R"({
  "best_global_step": 200,
  "best_metric": 88.25,
  "best_model_checkpoint": "out/checkpoint-200",
  "epoch": 1.5,
  "eval_steps": 100,
  "global_step": 300,
  "is_hyper_param_search": false,
  "is_local_process_zero": true,
  "is_world_process_zero": true,
  "log_history": [
    {
      "epoch": 0.05,
      "grad_norm": 3.25,
      "learning_rate": 1e-05,
      "loss": 5.1234,
      "step": 10
    },
    {
      "epoch": 1.0,
      "eval_f1": 88.25,
      "step": 200
    }
  ],
  "logging_steps": 10,
  "max_steps": 400,
  "num_input_tokens_seen": 12345,
  "num_train_epochs": 2,
  "save_steps": 100,
  "stateful_callbacks": {},
  "total_flos": 1250000000000000.0,
  "train_batch_size": 12,
  "trial_name": null,
  "trial_params": null
}
)";

// What it writes of TrainerState().
constexpr const char* kEmptyReference = R"({
  "best_global_step": null,
  "best_metric": null,
  "best_model_checkpoint": null,
  "epoch": null,
  "eval_steps": 500,
  "global_step": 0,
  "is_hyper_param_search": false,
  "is_local_process_zero": true,
  "is_world_process_zero": true,
  "log_history": [],
  "logging_steps": 500,
  "max_steps": 0,
  "num_input_tokens_seen": 0,
  "num_train_epochs": 0,
  "save_steps": 500,
  "stateful_callbacks": {},
  "total_flos": 0,
  "train_batch_size": null,
  "trial_name": null,
  "trial_params": null
}
)";

TrainerState example() {
  return {
      .epoch = 1.5,
      .global_step = 300,
      .max_steps = 400,
      .num_train_epochs = 2,
      .train_batch_size = 12,
      .logging_steps = 10,
      .eval_steps = 100,
      .save_steps = 100,
      .best_metric = 88.25,
      .best_model_checkpoint = "out/checkpoint-200",
      .best_global_step = 200,
      .num_input_tokens_seen = 12345,
      .total_flos = 1.25e15,
      .log_history = {{.epoch = 0.05,
                       .step = 10,
                       .values = {{"loss", 5.1234}, {"grad_norm", 3.25}, {"learning_rate", 1e-5}}},
                      {.epoch = 1, .step = 200, .values = {{"eval_f1", 88.25}}}},
  };
}

std::string error_of(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
  try {
    read_trainer_state(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  return text.replace(text.find(from), from.size(), to);
}

TEST(TrainerState, IsWhatTransformersWrites) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "trainer_state.json";
  write_trainer_state(path, example());
  EXPECT_EQ(base::read_file(path), kReference);
}

TEST(TrainerState, ReadsBack) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "trainer_state.json";
  write_trainer_state(path, example());
  const TrainerState state = read_trainer_state(path);
  EXPECT_EQ(state.epoch, 1.5);
  EXPECT_EQ(state.global_step, 300U);
  EXPECT_EQ(state.max_steps, 400U);
  EXPECT_EQ(state.num_train_epochs, 2);
  EXPECT_EQ(state.train_batch_size, 12U);
  EXPECT_EQ(state.logging_steps, 10U);
  EXPECT_EQ(state.eval_steps, 100U);
  EXPECT_EQ(state.save_steps, 100U);
  EXPECT_EQ(state.best_metric, 88.25);
  EXPECT_EQ(state.best_model_checkpoint, "out/checkpoint-200");
  EXPECT_EQ(state.best_global_step, 200U);
  EXPECT_EQ(state.num_input_tokens_seen, 12345U);
  EXPECT_EQ(state.total_flos, 1.25e15);
  ASSERT_EQ(state.log_history.size(), 2U);
  EXPECT_EQ(state.log_history[0].epoch, 0.05);
  EXPECT_EQ(state.log_history[0].step, 10U);
  EXPECT_EQ(state.log_history[0].values.size(), 3U);
  EXPECT_EQ(state.log_history[0].value("loss"), 5.1234);
  EXPECT_EQ(state.log_history[1].value("eval_f1"), 88.25);
  EXPECT_EQ(state.log_history[1].value("loss"), std::nullopt);
}

TEST(TrainerState, ReadsWhatTransformersLeavesEmpty) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "trainer_state.json";
  ASSERT_EQ(error_of(path, kEmptyReference), "");
  const TrainerState state = read_trainer_state(path);
  EXPECT_EQ(state.best_metric, std::nullopt);
  EXPECT_EQ(state.best_model_checkpoint, std::nullopt);
  EXPECT_EQ(state.best_global_step, std::nullopt);
  EXPECT_TRUE(state.log_history.empty());
  // And ours of it, where we have a number for null.
  write_trainer_state(path, state);
  std::string expected = replaced(kEmptyReference, "\"epoch\": null", "\"epoch\": 0.0");
  expected = replaced(expected, "\"total_flos\": 0", "\"total_flos\": 0.0");
  expected = replaced(expected, "\"train_batch_size\": null", "\"train_batch_size\": 0");
  EXPECT_EQ(base::read_file(path), expected);
}

TEST(TrainerState, NumbersSurvive) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "trainer_state.json";
  std::mt19937_64 random(1);
  TrainerState state;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const double value = std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 200) - 164);
    state.log_history.push_back({.epoch = value, .step = i, .values = {{"loss", -value}}});
  }
  state.num_train_epochs = 0.1 + 0.2;
  write_trainer_state(path, state);
  const TrainerState read = read_trainer_state(path);
  EXPECT_EQ(read.num_train_epochs, state.num_train_epochs);
  ASSERT_EQ(read.log_history.size(), state.log_history.size());
  for (std::size_t i = 0; i < read.log_history.size(); ++i) {
    ASSERT_EQ(read.log_history[i].epoch, state.log_history[i].epoch);
    ASSERT_EQ(read.log_history[i].values, state.log_history[i].values);
  }
}

TEST(TrainerState, WritesJsonEvenOfALossThatIsNoNumber) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "trainer_state.json";
  TrainerState state;
  state.log_history = {{.epoch = 1, .step = 1, .values = {{"loss", NAN}, {"grad_norm", INFINITY}}}};
  write_trainer_state(path, state);
  EXPECT_NE(base::read_file(path).find("\"loss\": null"), std::string::npos);
  const TrainerState read = read_trainer_state(path);
  EXPECT_TRUE(std::isnan(read.log_history[0].value("loss").value()));
  EXPECT_TRUE(std::isnan(read.log_history[0].value("grad_norm").value()));
}

TEST(TrainerState, ErrorsNameFileAndKey) {
  const tests::TemporaryFolder folder;
  const auto path = folder / "trainer_state.json";
  const std::string file = path.string();
  const auto error = [&](std::string_view from, std::string_view to) {
    return error_of(path, replaced(kReference, from, to));
  };
  EXPECT_EQ(error("\"global_step\": 300,", ""), file + ": key global_step is missing");
  EXPECT_EQ(error("300", "\"many\""), file + ": key global_step is a string where an integer is due");
  EXPECT_EQ(error("300", "-3"), file + ": key global_step = -3 is out of range [0, 9223372036854775807]");
  EXPECT_EQ(error("88.25", "\"good\""), file + ": key best_metric is a string where a number is due");
  EXPECT_EQ(error("5.1234", "{}"), file + ": log_history[0]: key loss is an object where a number is due");
  EXPECT_EQ(error("\"step\": 10", "\"stop\": 10"), file + ": log_history[0]: key step is missing");
  EXPECT_EQ(error("\"log_history\": [", "\"log_history\": 1, \"x\": ["),
            file + ": key log_history is not a list");
  EXPECT_EQ(error("400,", "400"), file + ":27: not valid JSON: syntax error");
  EXPECT_EQ(error("{\n", "["), file + ":1: not valid JSON: syntax error");
  EXPECT_EQ(error_of(path, "[]"), file + ": is a list where an object is due");
  EXPECT_THROW(read_trainer_state(folder / "missing.json"), Error);
  EXPECT_THROW(write_trainer_state(folder.path() / "missing" / "trainer_state.json", {}), Error);
}

}  // namespace
}  // namespace kvasir::train
