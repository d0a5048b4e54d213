// A reader in training: its weights, and one step after the other.
//
//   SpanTrainer trainer(folder, {.seed = 42});
//   trainer.add_batch(batch, {});                       // once or, to accumulate gradients, several times
//   StepResult result = trainer.step(learning_rate);    // clips, AdamW, clears the gradients
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "formats/model_folder.h"
#include "models/encoder_model.h"
#include "train/backward_tape.h"
#include "train/lora.h"
#include "train/optimizer.h"
#include "train/parameter_groups.h"
#include "train/parameters.h"
#include "train/span_batch.h"

namespace kvasir::train {

struct SpanTrainerOptions {
  int threads = 0;  // 0: all cores
  base::Isa isa = base::best_isa();
  std::uint64_t seed = 42;               // of dropout and of a new head
  bool dropout = true;                   // as config.json says; false: none
  std::vector<std::string> freeze = {};  // see parameter_groups.h
  double layerwise_lr_decay = 1;
  double ema = 0;  // decay of a moving average of the weights; 0: none
  AdamWOptions adamw = {};
  LoraOptions lora = {};               // r 0: all weights learn
  std::filesystem::path adapter = {};  // to start from, with its own options in place of `lora`; empty: none
  // Of distillation, for batches with a teacher's logits.
  float distil_alpha = 0.5F, distil_temperature = 2;
};

struct StepResult {
  double gradient_norm = 0;  // before clipping
};

class SpanTrainer {
 public:
  // Throws as models::load_trainable_reader.
  SpanTrainer(const formats::ModelFolder& folder, const SpanTrainerOptions& options);

  const models::EncoderFacts& facts() const noexcept { return model_.facts(); }
  bool head_is_new() const noexcept { return model_.head_is_new; }
  Parameters& parameters() noexcept { return parameters_; }
  const Lora* lora() const noexcept { return lora_.get(); }  // null: none
  void load_adapter(const std::filesystem::path& folder) { lora_->load(folder, parameters_); }
  std::uint64_t steps_done() const noexcept { return steps_; }
  std::size_t peak_activation_bytes() const noexcept { return tape_.peak_bytes(); }
  // Multiply-adds of a forward pass over one sequence; training does three times as many.
  double multiply_adds(std::size_t tokens) const noexcept {
    return model_.encoder->multiply_adds(tokens) + model_.head->multiply_adds(tokens);
  }

  // What the batch is a part of, if gradients are accumulated over several: see SpanLossCall. Zeros: all of
  // it.
  struct Whole {
    std::size_t counted_starts = 0, counted_ends = 0, sequences = 0;
  };
  // Forward and backward: adds to the gradients; returns this batch's part of the loss.
  SpanLoss add_batch(const SpanBatch& batch, const Whole& whole);
  // Clips the gradients, applies and clears them. Throws kDiverged if they are no numbers; the weights are
  // then as they were.
  StepResult step(double learning_rate);
  // For a run that is resumed.
  void set_steps_done(std::uint64_t steps) noexcept { steps_ = steps; }
  // The moving average of each parameter in order; empty without one.
  std::span<tensor::Buffer<float>> averages() noexcept { return averages_; }
  // The loss without dropout and gradients.
  SpanLoss evaluate(const SpanBatch& batch);

 private:
  void draw_head();
  void start_averages();
  void update_averages();
  std::unique_ptr<Lora> make_lora();
  // The logits of a batch, [tokens, 2], in the tape's memory.
  std::span<const float> run(const BackwardTape::Pass& pass);
  SpanLossCall loss_call(const SpanBatch& batch, const tensor::RaggedBatch& view,
                         std::span<const float> logits) const;

  SpanTrainerOptions options_;
  const kernels::Kernels& kernels_;
  base::ThreadPool pool_;
  tensor::Workspace workspace_;
  models::TrainableModel model_;
  Parameters parameters_;
  std::unique_ptr<Lora> lora_;
  BackwardTape tape_;
  std::vector<FrozenRows> frozen_;
  std::vector<tensor::Buffer<float>> averages_;
  std::uint64_t steps_ = 0;
};

}  // namespace kvasir::train
