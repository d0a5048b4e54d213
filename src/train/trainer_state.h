// trainer_state.json, as transformers' TrainerState.save_to_json writes it (4.57): how far a run is, the best
// score so far, and what was logged.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvasir::train {

struct LogEntry {
  double epoch = 0;
  std::uint64_t step = 0;
  std::vector<std::pair<std::string, double>> values = {};  // loss, learning_rate, eval_f1, …

  // The value of this name, if there is one.
  std::optional<double> value(std::string_view name) const;
};

struct TrainerState {
  double epoch = 0;
  std::uint64_t global_step = 0, max_steps = 0;
  double num_train_epochs = 0;
  std::uint64_t train_batch_size = 0;
  std::uint64_t logging_steps = 500, eval_steps = 500, save_steps = 500;
  std::optional<double> best_metric = {};
  std::optional<std::string> best_model_checkpoint = {};
  std::optional<std::uint64_t> best_global_step = {};
  std::uint64_t num_input_tokens_seen = 0;
  double total_flos = 0;
  std::vector<LogEntry> log_history = {};
};

// Atomically; keys are sorted, those of log entries too. A value that is no finite number becomes null.
// Throws kIo.
void write_trainer_state(const std::filesystem::path& path, const TrainerState& state);

// Ours, or transformers'. All numbers are exactly what was written; null in the log is read as no number
// (NaN). Throws kNotFound, kIo, kFormat "FILE: key global_step is missing".
TrainerState read_trainer_state(const std::filesystem::path& path);

}  // namespace kvasir::train
