#include "train/training_summary.h"

#include <algorithm>
#include <array>

#include "base/atomic_file.h"
#include "base/json.h"
#include "formats/model_folder.h"
#include "train/exact_json.h"
#include "train/learning_curves.h"
#include "train/model_card.h"

namespace kvasir::train {

namespace {

constexpr std::string_view kEval = "eval_";

void write_json(const std::filesystem::path& path, const base::json::object& object) {
  std::string text = "{";
  for (const auto& each : object) {
    text += (text.size() == 1 ? "\n    \"" : ",\n    \"") + std::string(each.key()) +
            "\": " + base::json::serialize(each.value());
  }
  base::AtomicFile file(path);
  file.write(text + "\n}\n");
  file.commit();
}

std::string text_of(double value) {
  std::string text;
  append_number(value, text);
  return text;
}

// The scores that people compare readers by.
bool is_score(const std::string& name) {
  return name == "exact_match" || name == "exact" || name == "f1" || name.starts_with("HasAns_") ||
         name.starts_with("NoAns_") || name == "best_f1";
}

ModelCard card_of(const TrainingSummary& summary) {
  const TrainOptions& o = summary.options;
  ModelCard card{.name = summary.output.lexically_normal().filename().string(), .base_model = o.model};
  const formats::ModelFolder written(summary.output);
  if (const base::json::value* names = written.config().raw().if_contains("architectures");
      names != nullptr && names->is_array() && !names->as_array().empty()) {
    card.architecture = names->as_array().front().as_string();
  }
  // A folder's path means nothing to others.
  if (std::filesystem::exists(o.model))
    card.base_model = std::filesystem::path(o.model).lexically_normal().filename();
  card.files = summary.files;
  for (const auto& [name, value] : summary.metrics) {
    if (is_score(name)) card.scores.push_back({.name = name, .value = value});
  }
  if (!o.validation_file.empty()) card.scored_on = std::filesystem::path(o.validation_file).filename();
  card.command = o.command;
  card.hyperparameters = {{"learning_rate", text_of(o.learning_rate)},
                          {"lr_scheduler_type", o.lr_scheduler_type},
                          {"steps", std::to_string(summary.state.global_step)},
                          {"epochs", text_of(summary.state.epoch)},
                          {"per_device_train_batch_size", std::to_string(o.per_device_train_batch_size)},
                          {"gradient_accumulation_steps", std::to_string(o.gradient_accumulation_steps)},
                          {"weight_decay", text_of(o.weight_decay)},
                          {"max_grad_norm", text_of(o.max_grad_norm)},
                          {"max_seq_length", std::to_string(o.max_seq_length)},
                          {"doc_stride", std::to_string(o.doc_stride)},
                          {"seed", std::to_string(o.seed)}};
  const auto add_if = [&](bool used, const char* name, const std::string& value) {
    if (used) card.hyperparameters.emplace_back(name, value);
  };
  add_if(o.warmup_steps > 0, "warmup_steps", std::to_string(o.warmup_steps));
  add_if(o.warmup_steps == 0 && o.warmup_ratio > 0, "warmup_ratio", text_of(o.warmup_ratio));
  add_if(o.batch_tokens > 0, "batch_tokens", std::to_string(o.batch_tokens));
  add_if(o.lora_r > 0, "lora_r", std::to_string(o.lora_r));
  add_if(o.ema > 0, "ema", text_of(o.ema));
  add_if(!o.teachers.empty(), "distil_alpha", text_of(o.distil_alpha));
  add_if(o.layerwise_lr_decay != 1, "layerwise_lr_decay", text_of(o.layerwise_lr_decay));
  return card;
}

}  // namespace

std::vector<std::pair<std::string, double>> metrics_at(const TrainerState& state, std::uint64_t step) {
  std::vector<std::pair<std::string, double>> metrics;
  for (const LogEntry& entry : state.log_history) {
    if (entry.step != step) continue;
    for (const auto& [name, value] : entry.values) {
      if (name.starts_with(kEval) && name != "eval_runtime")
        metrics.emplace_back(name.substr(kEval.size()), value);
    }
  }
  return metrics;
}

void write_summary(const TrainingSummary& summary) {
  const base::json::object train{{"epoch", summary.state.epoch},
                                 {"train_loss", summary.train_loss},
                                 {"train_runtime", summary.seconds},
                                 {"train_steps", summary.state.global_step},
                                 {"total_flos", summary.state.total_flos}};
  base::json::object eval{{"epoch", summary.state.epoch}};
  for (const auto& [name, value] : summary.metrics) eval[std::string(kEval) + name] = value;
  base::json::object all = train;
  write_json(summary.output / "train_results.json", train);
  if (!summary.metrics.empty()) {
    write_json(summary.output / "eval_results.json", eval);
    for (const auto& each : eval) all[each.key()] = each.value();
  }
  write_json(summary.output / "all_results.json", all);
  write_model_card(summary.output / "README.md", card_of(summary));
  if (!summary.state.log_history.empty()) {
    write_learning_curves(std::array{summary.output}, summary.output / "learning-curves.svg");
  }
}

}  // namespace kvasir::train
