// What options of a run may be.
#include <cmath>
#include <string>

#include "kvasir/error.h"
#include "train/training_run.h"

namespace kvasir::train {

namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, what);
}

struct Range {
  double least, most;
};

void check_range(const char* name, double value, const Range& range) {
  if (value >= range.least && value <= range.most) return;
  char text[160];
  std::snprintf(text, sizeof text, "%s: should be in [%g, %g] (got %g)", name, range.least, range.most,
                value);
  refuse(text);
}

void check_data(const TrainOptions& o) {
  if (o.model.empty()) refuse("model: is empty; name the model to start from");
  if (o.output_dir.empty()) refuse("output_dir: is empty; name the folder to write to");
  if (o.train_files.empty() == o.train_batches.empty()) {
    refuse("train_file or train_batches: give one of them");
  }
  if (!o.teacher_logits.empty() && o.train_batches.empty()) {
    refuse("teacher_logits: belong to train_batches; with train_file, name teachers");
  }
  if (!o.teacher_logits.empty() && !o.teachers.empty())
    refuse("teacher_logits: cannot be combined with teachers");
  const bool needs_validation = o.load_best_model_at_end || o.early_stopping_patience > 0;
  if (needs_validation && (o.validation_file.empty() || o.eval_strategy == IntervalStrategy::kNo)) {
    refuse("load_best_model_at_end and early_stopping_patience need a validation_file and an eval_strategy");
  }
}

}  // namespace

void check(const TrainOptions& o) {
  constexpr double kMany = 1e9;
  check_data(o);
  check_range("learning_rate", o.learning_rate, {0, 10});
  check_range("num_train_epochs", o.num_train_epochs, {0, 1e6});
  check_range("per_device_train_batch_size", static_cast<double>(o.per_device_train_batch_size), {1, 65536});
  check_range("batch_tokens", static_cast<double>(o.batch_tokens), {0, 1 << 24});
  check_range("gradient_accumulation_steps", static_cast<double>(o.gradient_accumulation_steps), {1, 65536});
  check_range("warmup_ratio", o.warmup_ratio, {0, 1});
  check_range("weight_decay", o.weight_decay, {0, 1});
  check_range("adam_beta1", o.adam_beta1, {0, 0.999999});
  check_range("adam_beta2", o.adam_beta2, {0, 0.999999});
  check_range("adam_epsilon", o.adam_epsilon, {1e-30, 1});
  check_range("max_grad_norm", o.max_grad_norm, {0, kMany});
  check_range("layerwise_lr_decay", o.layerwise_lr_decay, {0.01, 1});
  check_range("ema", o.ema, {0, 0.999999});
  check_range("max_seq_length", static_cast<double>(o.max_seq_length), {8, 1 << 20});
  check_range("doc_stride", static_cast<double>(o.doc_stride), {0, 1 << 20});
  check_range("logging_steps", static_cast<double>(o.logging_steps), {1, kMany});
  check_range("eval_steps", static_cast<double>(o.eval_steps), {1, kMany});
  check_range("save_steps", static_cast<double>(o.save_steps), {1, kMany});
  check_range("lora_alpha", o.lora_alpha, {1e-6, 1e6});
  check_range("lora_dropout", o.lora_dropout, {0, 0.99});
  check_range("distil_alpha", o.distil_alpha, {0, 1});
  check_range("distil_temperature", o.distil_temperature, {0.01, 1000});
  parse_scheduler(o.lr_scheduler_type);
}

}  // namespace kvasir::train
