#include "train/feature_batches.h"

#include <algorithm>
#include <utility>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "kvasir/error.h"
#include "text/tokenizer.h"

namespace kvasir::train {

namespace {

constexpr std::size_t kQuestionsNamed = 5;  // of a batch, in an error

std::string counted(std::size_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

bool feeds_types(const text::Tokenizer& tokenizer, const models::EncoderFacts& facts) {
  return tokenizer.makes_token_type_ids() && facts.type_vocab_size > 0;
}

}  // namespace

bool feeds_types(const formats::ModelFolder& model, const models::EncoderFacts& facts) {
  return feeds_types(text::Tokenizer::load(model), facts);
}

FeatureBatches::FeatureBatches(const TrainOptions& options, const formats::ModelFolder& model,
                               const models::EncoderFacts& facts)
    : accumulation_(options.gradient_accumulation_steps) {
  std::vector<TrainingFile> files;
  for (const TrainFile& file : options.train_files)
    files.push_back({.path = file.path, .weight = file.weight});
  data_ = load_training_data(files);
  const text::Tokenizer tokenizer = text::Tokenizer::load(model);
  base::ThreadPool pool(options.threads == 0 ? base::usable_cores() : options.threads);
  features_ = make_span_features(tokenizer, data_,
                                 {.max_seq_len = static_cast<int>(options.max_seq_length),
                                  .doc_stride = static_cast<int>(options.doc_stride),
                                  .model_max = facts.max_positions,
                                  .token_type_ids = feeds_types(tokenizer, facts)},
                                 pool);
  if (features_.size() == 0) {
    throw Error(ErrorCode::kFormat, "no question of the training files fits into a window of " +
                                        std::to_string(options.max_seq_length) +
                                        " tokens with its text; raise "
                                        "max_seq_length");
  }
  std::vector<double> weights;
  for (const TrainingFile& file : data_.files) weights.push_back(file.weight);
  const std::vector<std::uint32_t> lengths = features_.lengths(), sources = features_.files(data_);
  sampler_ = std::make_unique<BatchSampler>(
      BatchSampler::Windows{.lengths = lengths, .files = sources, .weights = weights},
      BatchSamplerOptions{.data_seed = options.data_seed == 0 ? options.seed : options.data_seed,
                          .batch_size = options.per_device_train_batch_size,
                          .batch_tokens = options.batch_tokens,
                          .group_by_length = options.group_by_length});
}

const std::vector<std::vector<std::uint32_t>>& FeatureBatches::batches_of(std::uint64_t epoch) {
  if (std::exchange(epoch_, epoch) != epoch) chosen_ = sampler_->epoch(epoch);
  return chosen_;
}

// The last step of an epoch may have fewer batches than the others, as in the Trainer.
std::uint64_t FeatureBatches::steps(std::uint64_t epoch) {
  const auto [found, is_new] = steps_.try_emplace(epoch, 0);
  if (is_new) found->second = (sampler_->steps_per_epoch(epoch) + accumulation_ - 1) / accumulation_;
  return found->second;
}

std::vector<SpanBatch> FeatureBatches::batches(std::uint64_t epoch, std::uint64_t step) {
  const auto& all = batches_of(epoch);
  std::vector<SpanBatch> result;
  for (std::size_t i = step * accumulation_;
       i < std::min<std::size_t>(all.size(), (step + 1) * accumulation_); ++i) {
    result.push_back(make_span_batch(features_, all[i]));
  }
  return result;
}

std::string FeatureBatches::describe(const SpanBatch& batch) const {
  std::string text = "questions";
  for (std::size_t i = 0; i < std::min(batch.examples.size(), kQuestionsNamed); ++i) {
    text += (i == 0 ? " " : ", ") + data_.examples[features_[batch.examples[i]].example].id;
  }
  if (batch.examples.size() > kQuestionsNamed) text += ", …";
  return text;
}

std::vector<std::string> FeatureBatches::messages() const {
  std::vector<std::string> lines;
  std::size_t unanswerable = 0;
  for (const TrainingExample& example : data_.examples) unanswerable += example.answerable ? 0 : 1;
  lines.push_back(counted(data_.examples.size(), "question", "questions") + ", " +
                  std::to_string(unanswerable) + " of them without an answer, in " +
                  counted(features_.size(), "window", "windows") + " of " +
                  std::to_string(features_.tokens() / features_.size()) + " tokens on average");
  if (data_.repaired > 0) {
    lines.push_back(counted(data_.repaired, "answer", "answers") +
                    " did not stand where answer_start says, and occurred once: repaired");
  }
  const auto add_bad = [&](std::size_t count, const std::vector<BadRow>& named, const char* what) {
    if (count == 0) return;
    lines.push_back(counted(count, what, (std::string(what) + "s").c_str()) + " left out:");
    for (const BadRow& row : named) lines.push_back("  " + row.where + ": " + row.reason);
    if (count > named.size()) lines.push_back("  and " + std::to_string(count - named.size()) + " more");
  };
  add_bad(data_.bad, data_.first_bad, "row");
  add_bad(features_.bad, features_.first_bad, "question");
  return lines;
}

std::vector<CardFile> FeatureBatches::files() const {
  std::vector<CardFile> files;
  for (const TrainingFile& file : data_.files)
    files.push_back({.use = "training", .path = file.path.string()});
  for (const TrainingExample& example : data_.examples) {
    ++files[example.file].questions;
    files[example.file].without_answer += example.answerable ? 0 : 1;
  }
  return files;
}

}  // namespace kvasir::train
