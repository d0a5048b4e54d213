// What stands beside a trained model: its scores as Hugging Face's Trainer leaves them, learning curves, and
// a model card.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/trainer.h"
#include "train/model_card.h"
#include "train/trainer_state.h"

namespace kvasir::train {

struct TrainingSummary {
  std::filesystem::path output;
  const TrainOptions& options;
  const TrainerState& state;
  std::vector<CardFile> files;  // that it was trained and evaluated with
  std::vector<std::pair<std::string, double>> metrics;
  double train_loss = 0, seconds = 0;
};
// Writes train_results.json, eval_results.json (if there are metrics), all_results.json, learning-curves.svg
// and README.md. Throws kIo.
void write_summary(const TrainingSummary& summary);

// The metrics that were logged for a step, without "eval_".
std::vector<std::pair<std::string, double>> metrics_at(const TrainerState& state, std::uint64_t step);

}  // namespace kvasir::train
