// Fine-tuning: a pre-trained encoder learns to find answers in texts.
//
//   kvasir::TrainOptions options{.model = "bert-base-uncased",
//                                .train_files = {{.path = "train-v2.0.json"}},
//                                .validation_file = "dev-v2.0.json",
//                                .output_dir = "my-reader"};
//   kvasir::TrainResult result = kvasir::train_qa(options);
//   kvasir::Reader reader = kvasir::Reader::load("my-reader");
//
// Options have the names that they have in Hugging Face's Trainer and run_qa, and mean the same. A run with
// the same options, data and processor gives the same weights bit by bit, whatever the number of threads,
// also if it was interrupted and resumed.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace kvasir {

struct TrainFile {
  std::string path;   // SQuAD v1.1 or v2.0, Hugging Face's flat rows (JSON lines), or MRQA's JSON lines
  double weight = 1;  // 0.5: a random half of it in each epoch; 2: twice in each
};

// When to evaluate, or to save.
enum class IntervalStrategy { kNo, kSteps, kEpoch };

struct TrainStep;

struct TrainOptions {
  std::string model =
      {};  // a folder, or the id of a fetched model; with a question-answering head or without
  std::vector<TrainFile> train_files = {};
  std::string train_batches = {};    // instead: ready-made batches, a safetensors file (docs/training.md)
  std::string validation_file = {};  // SQuAD; empty: no evaluation
  std::string output_dir = {};

  double learning_rate = 5e-5;
  double num_train_epochs = 3;
  std::uint64_t max_steps = 0;  // if not 0, instead of num_train_epochs
  std::size_t per_device_train_batch_size = 8;
  std::size_t batch_tokens = 0;  // if not 0, a batch is as many windows as fit, instead of a number of them
  std::size_t gradient_accumulation_steps = 1;
  bool group_by_length = true;  // windows of like length together
  double warmup_ratio = 0;
  std::uint64_t warmup_steps = 0;  // if not 0, instead of warmup_ratio
  double weight_decay = 0;         // not of biases and norms
  double adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8;
  double max_grad_norm = 1;                  // 0: gradients are not clipped
  std::string lr_scheduler_type = "linear";  // linear, cosine, constant
  double layerwise_lr_decay = 1;             // each layer below the head learns this much slower
  std::vector<std::string> freeze = {};      // regular expressions: tensors of these names do not learn
  double ema = 0;           // if not 0, what is saved is the moving average of the weights with this decay
  std::uint64_t seed = 42;  // dropout, and a head that is new
  std::uint64_t data_seed = 0;  // the order of windows; 0: as seed
  bool dropout = true;          // as config.json says; false: none

  std::size_t max_seq_length = 384, doc_stride = 128;

  std::uint64_t logging_steps = 50;
  IntervalStrategy eval_strategy = IntervalStrategy::kEpoch;
  std::uint64_t eval_steps = 500;
  IntervalStrategy save_strategy = IntervalStrategy::kEpoch;
  std::uint64_t save_steps = 500;
  std::size_t save_total_limit = 0;  // 0: all checkpoints stay
  bool load_best_model_at_end = false;
  std::string metric_for_best_model = "f1";
  std::size_t early_stopping_patience = 0;  // evaluations without a better one before the run ends; 0: never
  std::string resume_from_checkpoint = {};  // a checkpoint's folder, or "true": the newest in output_dir
  std::string log_json = {};                // a file that gets a line for each step

  // LoRA (docs/training.md). lora_r 0: all weights learn.
  std::size_t lora_r = 0;
  double lora_alpha = 8, lora_dropout = 0;
  std::vector<std::string> lora_target_modules = {"query", "value"};
  std::string adapter = {};  // a folder of PEFT's to start from

  // Distillation: the mean of several readers' logits, or logits from a file beside train_batches.
  std::vector<std::string> teachers = {};
  std::string teacher_logits = {};
  double distil_alpha = 0.5, distil_temperature = 2;

  int threads = 0;       // 0: one per core that the process may use
  std::string isa = {};  // "": the best

  // Called after each step, on the calling thread.
  std::function<void(const TrainStep& step)> on_step = {};
  // Called for what a person should know: data that was left out, a new head, scores, checkpoints.
  std::function<void(const std::string& line)> on_message = {};
  const std::atomic<bool>* cancel = nullptr;  // set: the run saves a checkpoint and ends
  std::vector<std::string> command = {};      // what started this run, for the model card
};

struct TrainStep {
  std::uint64_t step = 0, total_steps = 0;  // step counts from 1
  double epoch = 0;
  double loss = 0, grad_norm = 0, learning_rate = 0;
  double tokens_per_second = 0, seconds_left = 0;
  double multiply_adds_per_second = 0;  // forward and backward
};

struct TrainResult {
  std::uint64_t steps = 0;
  bool interrupted = false;  // by cancel
  double train_loss = 0;     // mean of all steps
  std::vector<std::pair<std::string, double>>
      metrics;                        // of the last evaluation, or of the best model if that was loaded
  std::string best_model_checkpoint;  // empty: none
};

// Trains and writes checkpoints and the model to output_dir. Throws kNotFound, kIo, kFormat (data, model),
// kInvalidArgument (options), kUnsupported; kDiverged if the loss is no number, naming the batch.
TrainResult train_qa(const TrainOptions& options);

// Writes the model of `base` with the adapter's changes as an ordinary folder. Throws as train_qa.
void merge_adapter(const std::string& base, const std::string& adapter, const std::string& output_dir);

}  // namespace kvasir
