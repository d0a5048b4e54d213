// One run of kvasir/trainer.h: data, steps, evaluations, checkpoints, and what is left at the end.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kvasir/trainer.h"
#include "qa/squad.h"
#include "train/batch_source.h"
#include "train/event_file.h"
#include "train/model_card.h"
#include "train/span_trainer.h"
#include "train/trainer_state.h"
#include "train/training_log.h"

namespace kvasir::train {

// Throws kInvalidArgument for options that make no sense, alone or together.
void check(const TrainOptions& options);

class TrainingRun {
 public:
  explicit TrainingRun(const TrainOptions& options);
  TrainResult run();

 private:
  using Clock = std::chrono::steady_clock;

  void say(const std::string& line) const;
  void load_batches();
  void add_teachers();
  void count_steps();
  void resume();
  void train();
  void take_step(std::uint64_t epoch, std::uint64_t index);
  void report_step(double loss, double norm, double rate, std::size_t tokens, double multiply_adds);
  void log_mean_loss(double norm, double rate);
  // After a step, or an epoch: evaluates and saves if it is time. True: the run should end.
  bool evaluate_and_save(bool end_of_epoch);
  void evaluate();
  void save_checkpoint();
  void finish();
  bool is_cancelled() const {
    return options_.cancel != nullptr && options_.cancel->load(std::memory_order_relaxed);
  }
  bool is_last_step() const { return state_.global_step >= state_.max_steps; }
  // Writes the model as it is now, with its moving average if there is one.
  void write_weights(const std::filesystem::path& folder) const;
  std::filesystem::path checkpoint_path(std::uint64_t step) const;

  TrainOptions options_;
  std::filesystem::path output_, model_;
  std::unique_ptr<formats::ModelFolder> source_;
  std::unique_ptr<SpanTrainer> trainer_;
  std::unique_ptr<BatchSource> batches_;
  std::optional<qa::SquadDataset> validation_;
  Schedule schedule_;
  TrainerState state_;
  std::unique_ptr<TrainingLog> log_;
  std::unique_ptr<EventFile> events_;
  std::vector<CardFile> files_;            // for the model card
  std::uint64_t epoch_ = 0, index_ = 0;    // of the next step: epoch, and step in it
  double loss_sum_ = 0, logged_loss_ = 0;  // over all steps; and since the last entry of the history
  std::uint64_t logged_steps_ = 0;
  std::size_t evaluations_without_gain_ = 0;
  Clock::time_point start_;
  std::uint64_t first_step_ = 0;  // of this process
  TrainResult result_;
};

}  // namespace kvasir::train
