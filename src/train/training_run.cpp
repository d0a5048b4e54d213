#include "train/training_run.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "base/atomic_file.h"
#include "base/json.h"
#include "kvasir/error.h"
#include "kvasir/hub.h"
#include "kvasir/reader.h"
#include "qa/evaluation.h"
#include "train/checkpoint_folder.h"
#include "train/exact_json.h"
#include "train/feature_batches.h"
#include "train/model_files.h"
#include "train/ready_batches.h"
#include "train/teachers.h"
#include "train/training_summary.h"

namespace kvasir::train {

namespace {

constexpr const char* kStateFile = "trainer_state.json";
constexpr const char* kRunFile = "kvasir_run.json";
constexpr std::size_t kMostOfARunFile = std::size_t{1} << 20;
constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kOptimizerFile = "optimizer.safetensors";

std::string metric_name(const std::string& name) {
  return name.starts_with("eval_") ? name : "eval_" + name;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// For TensorBoard.
double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string text_of(double value, const char* format) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// What must be the same for a run to go on where it ended. The rest, such as the learning rate, may change.
std::string course_of(const TrainOptions& options) {
  base::json::array files;
  for (const TrainFile& file : options.train_files) {
    files.push_back({{"path", file.path}, {"weight", file.weight}});
  }
  return base::json::serialize(
      base::json::object{{"train_files", files},
                         {"train_batches", options.train_batches},
                         {"per_device_train_batch_size", options.per_device_train_batch_size},
                         {"batch_tokens", options.batch_tokens},
                         {"gradient_accumulation_steps", options.gradient_accumulation_steps},
                         {"group_by_length", options.group_by_length},
                         {"seed", options.seed},
                         {"data_seed", options.data_seed},
                         {"max_seq_length", options.max_seq_length},
                         {"doc_stride", options.doc_stride},
                         {"lora_r", options.lora_r},
                         {"ema", options.ema}});
}

}  // namespace

TrainingRun::TrainingRun(const TrainOptions& options) : options_(options), output_(options.output_dir) {
  check(options_);
  model_ = resolve_model(options_.model);
  source_ = std::make_unique<formats::ModelFolder>(model_);
  if (!options_.validation_file.empty()) {
    validation_ = qa::load_squad(options_.validation_file);
    // A file without any question fails now, not after the first epoch.
    if (validation_->questions() == 0) {
      throw Error(ErrorCode::kFormat, options_.validation_file + ": has no questions to evaluate with");
    }
  }
  SpanTrainerOptions trainer{.threads = options_.threads,
                             .seed = options_.seed,
                             .dropout = options_.dropout,
                             .freeze = options_.freeze,
                             .layerwise_lr_decay = options_.layerwise_lr_decay,
                             .ema = options_.ema,
                             .adamw = {.beta1 = options_.adam_beta1,
                                       .beta2 = options_.adam_beta2,
                                       .epsilon = options_.adam_epsilon,
                                       .weight_decay = options_.weight_decay,
                                       .max_grad_norm = options_.max_grad_norm},
                             .lora = {.r = options_.lora_r,
                                      .alpha = options_.lora_alpha,
                                      .dropout = options_.lora_dropout,
                                      .target_modules = options_.lora_target_modules},
                             .adapter = options_.adapter,
                             .distil_alpha = static_cast<float>(options_.distil_alpha),
                             .distil_temperature = static_cast<float>(options_.distil_temperature)};
  if (!options_.isa.empty()) trainer.isa = base::parse_isa(options_.isa);
  trainer_ = std::make_unique<SpanTrainer>(*source_, trainer);
  if (trainer_->head_is_new()) {
    say("the model has no question-answering head: a new one is drawn with seed " +
        std::to_string(options_.seed));
  }
  load_batches();
  add_teachers();
  count_steps();
}

void TrainingRun::say(const std::string& line) const {
  if (options_.on_message) options_.on_message(line);
}

void TrainingRun::load_batches() {
  if (!options_.train_batches.empty()) {
    batches_ = std::make_unique<ReadyBatches>(
        ReadyBatches::Options{.batches = options_.train_batches,
                              .teacher_logits = options_.teacher_logits,
                              .feeds_types = feeds_types(*source_, trainer_->facts()),
                              .accumulation = options_.gradient_accumulation_steps},
        trainer_->facts());
    files_.push_back({.use = "training", .path = options_.train_batches});
    return;
  }
  auto features = std::make_unique<FeatureBatches>(options_, *source_, trainer_->facts());
  for (const std::string& line : features->messages()) say(line);
  files_ = features->files();
  batches_ = std::move(features);
}

void TrainingRun::add_teachers() {
  if (options_.teachers.empty()) return;
  batches_ = std::make_unique<TaughtBatches>(std::move(batches_),
                                             TaughtBatches::Options{.teachers = options_.teachers,
                                                                    .student = model_,
                                                                    .threads = options_.threads,
                                                                    .isa = options_.isa});
}

// As Hugging Face's Trainer counts them.
void TrainingRun::count_steps() {
  state_.num_train_epochs = options_.num_train_epochs;
  state_.train_batch_size = options_.per_device_train_batch_size;
  state_.logging_steps = options_.logging_steps;
  state_.eval_steps = options_.eval_steps;
  state_.save_steps = options_.save_steps;
  if (options_.max_steps > 0) {
    state_.max_steps = options_.max_steps;
  } else {
    const double whole = std::floor(options_.num_train_epochs);
    double steps = 0;
    for (std::uint64_t epoch = 0; static_cast<double>(epoch) < whole; ++epoch) {
      steps += static_cast<double>(batches_->steps(epoch));
    }
    const double rest = options_.num_train_epochs - whole;
    if (rest > 0) steps += rest * static_cast<double>(batches_->steps(static_cast<std::uint64_t>(whole)));
    state_.max_steps = static_cast<std::uint64_t>(std::ceil(steps));
  }
  if (state_.max_steps == 0) {
    throw Error(ErrorCode::kInvalidArgument, "num_train_epochs: " + text_of(options_.num_train_epochs, "%g") +
                                                 " gives no step with this data and batch size");
  }
  const std::uint64_t warmup = options_.warmup_steps > 0
                                   ? options_.warmup_steps
                                   : static_cast<std::uint64_t>(std::ceil(
                                         options_.warmup_ratio * static_cast<double>(state_.max_steps)));
  schedule_ = {.scheduler = parse_scheduler(options_.lr_scheduler_type),
               .learning_rate = options_.learning_rate,
               .warmup_steps = warmup,
               .total_steps = state_.max_steps};
}

std::filesystem::path TrainingRun::checkpoint_path(std::uint64_t step) const {
  return output_ / ("checkpoint-" + std::to_string(step));
}

void TrainingRun::resume() {
  if (options_.resume_from_checkpoint.empty()) return;
  std::filesystem::path folder = options_.resume_from_checkpoint;
  if (options_.resume_from_checkpoint == "true") {
    const std::vector<Checkpoint> checkpoints = list_checkpoints(output_);
    if (checkpoints.empty()) {
      throw Error(ErrorCode::kNotFound, "resume_from_checkpoint: " + output_.string() +
                                            " has no checkpoint; leave the option out to begin anew");
    }
    folder = checkpoints.back().path;
  }
  if (!std::filesystem::is_directory(folder)) {
    throw Error(ErrorCode::kNotFound, "resume_from_checkpoint: " + folder.string() + " is not there");
  }
  if (!is_complete(folder)) {
    throw Error(ErrorCode::kFormat,
                "resume_from_checkpoint: " + folder.string() +
                    " is no whole checkpoint (of model.safetensors, optimizer.safetensors and "
                    "trainer_state.json some are missing); choose another one");
  }
  const TrainerState state = read_trainer_state(folder / kStateFile);
  const base::json::value run = parse_exact_json(
      base::read_file(folder / kRunFile, {.max_bytes = kMostOfARunFile}), (folder / kRunFile).string());
  const base::JsonObject json(run, (folder / kRunFile).string());
  if (json.string("course") != course_of(options_)) {
    throw Error(ErrorCode::kInvalidArgument, "resume_from_checkpoint: " + folder.string() +
                                                 " is of a run with other data, batches or seeds (" +
                                                 json.string("course") +
                                                 "); go on with the same, or begin anew");
  }
  read_weights(folder / kModelFile, trainer_->parameters());
  if (trainer_->lora() != nullptr) trainer_->load_adapter(folder);
  read_optimizer(folder / kOptimizerFile, trainer_->parameters(), trainer_->averages());
  const std::uint64_t max_steps = state_.max_steps;
  state_ = state;
  state_.max_steps = max_steps;
  state_.num_train_epochs = options_.num_train_epochs;
  trainer_->set_steps_done(state_.global_step);
  epoch_ = static_cast<std::uint64_t>(json.integer("epoch", 0, INT64_MAX));
  index_ = static_cast<std::uint64_t>(json.integer("step_in_epoch", 0, INT64_MAX));
  loss_sum_ = json.number("loss_sum");
  logged_loss_ = json.number("logged_loss");
  logged_steps_ = static_cast<std::uint64_t>(json.integer("logged_steps", 0, INT64_MAX));
  evaluations_without_gain_ =
      static_cast<std::size_t>(json.integer("evaluations_without_gain", 0, INT64_MAX));
  say("going on after step " + std::to_string(state_.global_step) + " of " + folder.string());
}

TrainResult TrainingRun::run() {
  std::error_code error;
  std::filesystem::create_directories(output_, error);
  if (error) throw Error(ErrorCode::kIo, output_.string() + ": " + error.message());
  remove_leftovers(output_);
  resume();
  start_ = Clock::now();
  first_step_ = state_.global_step;
  if (!options_.log_json.empty()) {
    log_ = state_.global_step > 0 ? std::make_unique<TrainingLog>(options_.log_json, state_.global_step)
                                  : std::make_unique<TrainingLog>(options_.log_json);
  }
  std::filesystem::create_directories(output_ / "runs");
  events_ = std::make_unique<EventFile>(output_ / "runs", unix_seconds());
  train();
  if (!result_.interrupted) finish();
  result_.steps = state_.global_step;
  result_.train_loss = state_.global_step == 0 ? 0 : loss_sum_ / static_cast<double>(state_.global_step);
  if (state_.best_model_checkpoint) result_.best_model_checkpoint = *state_.best_model_checkpoint;
  return std::move(result_);
}

void TrainingRun::train() {
  while (!is_last_step()) {
    const std::uint64_t steps = batches_->steps(epoch_);
    take_step(epoch_, index_++);
    state_.epoch = static_cast<double>(epoch_) + static_cast<double>(index_) / static_cast<double>(steps);
    const bool ends_epoch = index_ == steps;
    if (ends_epoch) ++epoch_, index_ = 0;
    if (evaluate_and_save(ends_epoch)) return;
  }
}

void TrainingRun::take_step(std::uint64_t epoch, std::uint64_t index) {
  const auto start = Clock::now();
  const std::vector<SpanBatch> batches = batches_->batches(epoch, index);
  SpanTrainer::Whole whole;
  std::size_t tokens = 0;
  double multiply_adds = 0;
  for (const SpanBatch& batch : batches) {
    whole.counted_starts += counted(batch.view(), batch.start_positions);
    whole.counted_ends += counted(batch.view(), batch.end_positions);
    whole.sequences += batch.sequences();
    for (std::size_t s = 0; s < batch.sequences(); ++s) {
      const auto length = static_cast<std::size_t>(batch.cu_seqlens[s + 1] - batch.cu_seqlens[s]);
      tokens += batch.key_lengths.empty() ? length : static_cast<std::size_t>(batch.key_lengths[s]);
      multiply_adds += 3 * trainer_->multiply_adds(length);
    }
  }
  const auto fail = [&](const SpanBatch& batch, const std::string& what) {
    const std::vector<Checkpoint> checkpoints = list_checkpoints(output_);
    throw Error(ErrorCode::kDiverged,
                "step " + std::to_string(state_.global_step + 1) + ": " + what + " (" +
                    batches_->describe(batch) + "); lower the learning rate, or look at that data. " +
                    (checkpoints.empty() ? "There is no checkpoint yet"
                                         : "The last checkpoint is " + checkpoints.back().path.string()));
  };
  double loss = 0;
  for (const SpanBatch& batch : batches) {
    loss += trainer_->add_batch(batch, whole).loss;
    if (!std::isfinite(loss)) fail(batch, "the loss is no number");
  }
  const double rate = learning_rate(schedule_, state_.global_step);
  double norm = 0;
  try {
    norm = trainer_->step(rate).gradient_norm;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kDiverged) throw;
    fail(batches.front(), "the gradients are no numbers");
  }
  ++state_.global_step;
  state_.num_input_tokens_seen += tokens;
  state_.total_flos += 2 * multiply_adds;
  loss_sum_ += loss;
  logged_loss_ += loss;
  ++logged_steps_;
  const double seconds = seconds_since(start);
  report_step(loss, norm, rate, static_cast<std::size_t>(static_cast<double>(tokens) / seconds),
              multiply_adds / seconds);
}

void TrainingRun::report_step(double loss, double norm, double rate, std::size_t tokens,
                              double multiply_adds) {
  const std::uint64_t step = state_.global_step;
  if (log_) {
    log_->write({.step = step,
                 .values = {{"loss", loss},
                            {"grad_norm", norm},
                            {"learning_rate", rate},
                            {"tokens_per_second", static_cast<double>(tokens)}}});
  }
  if (step % options_.logging_steps == 0 || is_last_step()) log_mean_loss(norm, rate);
  if (!options_.on_step) return;
  const double steps_per_second = static_cast<double>(step - first_step_) / seconds_since(start_);
  options_.on_step({.step = step,
                    .total_steps = state_.max_steps,
                    .epoch = state_.epoch,
                    .loss = loss,
                    .grad_norm = norm,
                    .learning_rate = rate,
                    .tokens_per_second = static_cast<double>(tokens),
                    .seconds_left = static_cast<double>(state_.max_steps - step) / steps_per_second,
                    .multiply_adds_per_second = multiply_adds});
}

void TrainingRun::log_mean_loss(double norm, double rate) {
  const double loss = logged_loss_ / static_cast<double>(std::max<std::uint64_t>(logged_steps_, 1));
  logged_loss_ = 0;
  logged_steps_ = 0;
  state_.log_history.push_back({.epoch = state_.epoch,
                                .step = state_.global_step,
                                .values = {{"loss", loss}, {"grad_norm", norm}, {"learning_rate", rate}}});
  const double now = unix_seconds();
  for (const auto& [name, value] : state_.log_history.back().values) {
    events_->scalar("train/" + name, state_.global_step, now, static_cast<float>(value));
  }
}

bool TrainingRun::evaluate_and_save(bool end_of_epoch) {
  const auto is_due = [&](IntervalStrategy strategy, std::uint64_t steps) {
    if (strategy == IntervalStrategy::kNo) return false;
    if (strategy == IntervalStrategy::kEpoch) return end_of_epoch || is_last_step();
    return state_.global_step % steps == 0 || is_last_step();
  };
  if (is_cancelled()) {
    save_checkpoint();
    say("stopped after step " + std::to_string(state_.global_step) + "; go on with resume_from_checkpoint");
    result_.interrupted = true;
    return true;
  }
  if (validation_ && is_due(options_.eval_strategy, options_.eval_steps)) evaluate();
  const bool is_best = state_.best_global_step == state_.global_step;
  const bool saves =
      is_due(options_.save_strategy, options_.save_steps) || (options_.load_best_model_at_end && is_best);
  if (saves) save_checkpoint();
  const bool has_stopped_gaining =
      options_.early_stopping_patience > 0 && evaluations_without_gain_ >= options_.early_stopping_patience;
  if (has_stopped_gaining && !is_last_step()) {
    say("no better " + options_.metric_for_best_model + " in " + std::to_string(evaluations_without_gain_) +
        " evaluations: stopped after step " + std::to_string(state_.global_step));
    return true;
  }
  return false;
}

// The model is evaluated as it is saved: written, loaded and asked.
void TrainingRun::evaluate() {
  const auto start = Clock::now();
  std::vector<qa::Metric> metrics;
  try {
    const FolderWriter folder(output_ / "evaluation");  // never committed, so it goes away by itself
    write_weights(folder.path());
    const Reader reader = Reader::load(folder.path(), {.threads = options_.threads, .isa = options_.isa});
    qa::EvaluationCall call{.data = *validation_,
                            .version = qa::version_of(*validation_),
                            .options = {.decode = Decode::kSquad,
                                        .max_seq_len = static_cast<int>(options_.max_seq_length),
                                        .doc_stride = static_cast<int>(options_.doc_stride),
                                        .cancel = options_.cancel}};
    metrics = qa::score(call, qa::evaluate(reader, call));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) return;  // the next thing that happens is that the run ends
    throw;
  }
  LogEntry entry{.epoch = state_.epoch, .step = state_.global_step, .values = {}};
  result_.metrics.clear();
  const double now = unix_seconds();
  for (const qa::Metric& metric : metrics) {
    entry.values.emplace_back(metric_name(metric.name), metric.value);
    result_.metrics.emplace_back(metric.name, metric.value);
    events_->scalar("eval/" + metric.name, state_.global_step, now, static_cast<float>(metric.value));
  }
  entry.values.emplace_back("eval_runtime", seconds_since(start));
  const std::string wanted = metric_name(options_.metric_for_best_model);
  const std::optional<double> score = entry.value(wanted);
  if (!score) {
    std::string known;
    for (const auto& [name, value] : result_.metrics) known += (known.empty() ? "" : ", ") + name;
    throw Error(ErrorCode::kInvalidArgument, "metric_for_best_model: " + options_.metric_for_best_model +
                                                 " is not one of the metrics of this data: " + known);
  }
  state_.log_history.push_back(entry);
  if (!state_.best_metric || *score > *state_.best_metric) {
    state_.best_metric = *score;
    state_.best_global_step = state_.global_step;
    state_.best_model_checkpoint = checkpoint_path(state_.global_step).string();
    evaluations_without_gain_ = 0;
  } else {
    ++evaluations_without_gain_;
  }
  std::string line = "epoch " + text_of(state_.epoch, "%.2f");
  for (const char* name : {"exact_match", "exact", "f1", "HasAns_f1", "NoAns_f1", "best_f1"}) {
    if (const std::optional<double> value = entry.value(metric_name(name))) {
      line += std::string(", ") + name + " " + text_of(*value, "%.2f");
    }
  }
  say(line);
}

void TrainingRun::write_weights(const std::filesystem::path& folder) const {
  std::optional<MergedWeights> merged;  // for as long as the file is written: the model as it answers
  if (trainer_->lora() != nullptr) merged.emplace(*trainer_->lora(), trainer_->parameters());
  write_model(folder, *source_, trainer_->parameters(), trainer_->averages());
}

void TrainingRun::save_checkpoint() {
  const std::filesystem::path final_path = checkpoint_path(state_.global_step);
  write_folder(final_path, [&](const std::filesystem::path& folder) {
    // The weights that learn, not their average: the run goes on from them.
    write_model(folder, *source_, trainer_->parameters());
    if (trainer_->lora() != nullptr) {
      trainer_->lora()->save(folder, std::filesystem::absolute(model_).string(), trainer_->parameters());
    }
    write_optimizer(folder / kOptimizerFile, trainer_->parameters(), trainer_->averages());
    base::AtomicFile run(folder / kRunFile);
    run.write(
        base::json::serialize(base::json::object{{"version", 1},
                                                 {"course", course_of(options_)},
                                                 {"command", base::json::value_from(options_.command)},
                                                 {"epoch", epoch_},
                                                 {"step_in_epoch", index_},
                                                 {"loss_sum", loss_sum_},
                                                 {"logged_loss", logged_loss_},
                                                 {"logged_steps", logged_steps_},
                                                 {"evaluations_without_gain", evaluations_without_gain_}}) +
        "\n");
    run.commit();
    write_trainer_state(folder / kStateFile, state_);
  });
  CheckpointLimit limit{.save_total_limit = options_.save_total_limit, .best = {}};
  if (options_.load_best_model_at_end && state_.best_model_checkpoint)
    limit.best = *state_.best_model_checkpoint;
  remove_old_checkpoints(output_, limit);
}

void TrainingRun::finish() {
  if (options_.load_best_model_at_end && state_.best_global_step &&
      *state_.best_global_step != state_.global_step) {
    const std::filesystem::path best = *state_.best_model_checkpoint;
    read_weights(best / kModelFile, trainer_->parameters());
    if (trainer_->lora() != nullptr) trainer_->load_adapter(best);
    if (!trainer_->averages().empty())
      read_averages(best / kOptimizerFile, trainer_->parameters(), trainer_->averages());
    result_.metrics = metrics_at(state_, *state_.best_global_step);
    say("the best model is that of step " + std::to_string(*state_.best_global_step));
  }
  write_weights(output_);
  if (trainer_->lora() != nullptr) {
    trainer_->lora()->save(output_, std::filesystem::absolute(model_).string(), trainer_->parameters());
  }
  write_trainer_state(output_ / kStateFile, state_);
  write_summary({.output = output_,
                 .options = options_,
                 .state = state_,
                 .files = files_,
                 .metrics = result_.metrics,
                 .train_loss = loss_sum_ / static_cast<double>(state_.global_step),
                 .seconds = seconds_since(start_)});
}

}  // namespace kvasir::train

namespace kvasir {

TrainResult train_qa(const TrainOptions& options) {
  return train::TrainingRun(options).run();
}

void merge_adapter(const std::string& base, const std::string& adapter, const std::string& output_dir) {
  if (std::filesystem::exists(output_dir) && !std::filesystem::is_empty(output_dir)) {
    throw Error(ErrorCode::kInvalidArgument,
                "output_dir: " + output_dir + " is there and not empty; name a new folder");
  }
  const formats::ModelFolder source(resolve_model(base));
  train::SpanTrainer trainer(source, {.adapter = adapter});
  trainer.lora()->merge(trainer.parameters());
  train::write_folder(output_dir, [&](const std::filesystem::path& folder) {
    train::write_model(folder, source, trainer.parameters());
  });
}

}  // namespace kvasir
