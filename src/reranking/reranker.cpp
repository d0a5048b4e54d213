#include "kvasir/reranker.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "base/json.h"
#include "base/utf8.h"
#include "kvasir/hub.h"
#include "models/model_kind.h"
#include "reranking/pair_truncation.h"
#include "runtime/engine.h"
#include "text/tokenizer.h"

namespace kvasir {

namespace reranking {

struct LoadedReranker {
  text::Tokenizer tokenizer;
  runtime::Engine engine;
  std::vector<std::string> labels;
  models::HeadActivation activation;  // of the score of a model with one label
  std::size_t max_length;
  bool feeds_types;  // whether the model is given token types
};

namespace {

// Tokens that wait for the engine at once, as in the embedder.
constexpr std::size_t kGroupTokens = 16384;

void check_utf8(std::string_view text, std::size_t index, const char* what) {
  const std::size_t invalid = base::find_invalid_utf8(text);
  if (invalid == text.size()) return;
  throw Error(ErrorCode::kInvalidArgument, "pair " + std::to_string(index) + ": the " + what +
                                               " is not UTF-8 (byte " + std::to_string(invalid) +
                                               "); convert it first");
}

void softmax(std::span<float> x) {
  const float max = *std::ranges::max_element(x);
  float sum = 0;
  for (float& value : x) sum += value = std::exp(value - max);
  for (float& value : x) value /= sum;
}

// One pair on its way.
struct Pending {
  text::Encoding encoding;
  PairScore result;  // logits and scores are missing
};

class BatchScorer {
 public:
  BatchScorer(const LoadedReranker& reranker, const ScoreOptions& options,
              const Reranker::OnResult& on_result)
      : reranker_(reranker), options_(options), on_result_(on_result) {}

  void add(std::size_t index, const TextPair& pair) {
    check_utf8(pair.query, index, "query");
    check_utf8(pair.text, index, "text");
    const text::Tokenizer& tokenizer = reranker_.tokenizer;
    if (!query_ || *query_ != pair.query) {  // a query that comes with many texts is tokenised once
      query_tokens_ = tokenizer.tokenize(pair.query);
      query_ = pair.query;
    }
    const text::TokenizedText text = tokenizer.tokenize(pair.text);
    const std::size_t special = tokenizer.pair_template_tokens();
    const std::size_t room = reranker_.max_length > special ? reranker_.max_length - special : 0;
    const auto [first, second] = longest_first(query_tokens_.size(), text.size(), room);
    Pending& pending = group_.emplace_back();
    pending.encoding = tokenizer.join(query_tokens_, {0, first}, text, {0, second});
    pending.result.tokens = pending.encoding.size();
    pending.result.pair_tokens = query_tokens_.size() + text.size() + special;
    group_tokens_ += pending.encoding.size();
    if (group_tokens_ >= kGroupTokens) flush();
  }

  void flush() {
    std::vector<runtime::Sequence> sequences;
    for (const Pending& pending : group_) {
      runtime::Sequence sequence{.input_ids = pending.encoding.ids, .token_type_ids = {}};
      if (reranker_.feeds_types) sequence.token_type_ids = pending.encoding.type_ids;
      sequences.push_back(sequence);
    }
    reranker_.engine.run(
        sequences,
        [&](std::size_t i, std::span<const float> logits) {
          PairScore& result = group_[i].result;
          result.logits.assign(logits.begin(), logits.end());
          result.scores = result.logits;
          if (logits.size() == 1) {
            models::activate(reranker_.activation, result.scores);
          } else {
            softmax(result.scores);
          }
          on_result_(done_++, result);
        },
        options_.cancel);
    group_.clear();
    group_tokens_ = 0;
  }

 private:
  const LoadedReranker& reranker_;
  const ScoreOptions& options_;
  const Reranker::OnResult& on_result_;
  std::optional<std::string_view> query_;
  text::TokenizedText query_tokens_;
  std::vector<Pending> group_;
  std::size_t group_tokens_ = 0, done_ = 0;
};

// Of one label: what config.json says, in today's words of sentence-transformers or in older ones.
models::HeadActivation read_activation(const base::JsonObject& config) {
  std::string dotted = config.string_or("sbert_ce_default_activation_function", "");
  if (config.has("sentence_transformers")) {
    dotted = config.object("sentence_transformers").string_or("activation_fn", dotted);
  }
  if (dotted.empty()) return models::HeadActivation::kSigmoid;
  const std::string name = dotted.substr(dotted.rfind('.') + 1);
  if (name == "Sigmoid") return models::HeadActivation::kSigmoid;
  if (name == "Identity") return models::HeadActivation::kIdentity;
  if (name == "Tanh") return models::HeadActivation::kTanh;
  throw Error(ErrorCode::kUnsupported, config.origin() + ": activation_fn " + dotted +
                                           " is not supported; known: Sigmoid, Identity, Tanh");
}

// In the order of their numbers; LABEL_0, … where config.json has no names, as in transformers.
std::vector<std::string> read_labels(const base::JsonObject& config, std::size_t count) {
  std::vector<std::string> labels;
  for (std::size_t i = 0; i < count; ++i) {
    std::string name = "LABEL_" + std::to_string(i);
    if (config.has("id2label")) name = config.object("id2label").string_or(std::to_string(i), name);
    labels.push_back(std::move(name));
  }
  return labels;
}

}  // namespace

}  // namespace reranking

struct Reranker::Impl : reranking::LoadedReranker {};

Reranker Reranker::load(const std::filesystem::path& model, const RerankerOptions& options) {
  const runtime::EngineOptions engine_options = runtime::engine_options(options);
  const std::filesystem::path folder = resolve_model(model, {.cache = options.hub_cache});
  const formats::ModelFolder files(folder);
  const models::ModelDescription description = models::describe_model(files);
  if (description.kind == models::ModelKind::kLanguageModel) {
    throw Error(ErrorCode::kInvalidArgument,
                folder.string() + ": has no scores of pairs; " + models::advice(description));
  }
  const base::JsonObject config = files.config();
  const models::HeadActivation activation = reranking::read_activation(config);
  text::Tokenizer tokenizer = text::Tokenizer::load(files);
  runtime::Engine engine =
      runtime::Engine::load(files, models::Task::kSequenceClassification, engine_options);
  std::vector<std::string> labels = reranking::read_labels(config, engine.model().head->columns());
  const bool feeds_types = tokenizer.makes_token_type_ids() && engine.facts().type_vocab_size > 0;
  const std::size_t max_length = std::min(tokenizer.model_max_length(), engine.facts().max_positions);
  return Reranker(std::make_shared<const Impl>(Impl{{.tokenizer = std::move(tokenizer),
                                                     .engine = std::move(engine),
                                                     .labels = std::move(labels),
                                                     .activation = activation,
                                                     .max_length = max_length,
                                                     .feeds_types = feeds_types}}));
}

PairScore Reranker::score(const TextPair& pair, const ScoreOptions& options) const {
  PairScore result;
  score_batch({&pair, 1}, options, [&](std::size_t, PairScore& score) { result = std::move(score); });
  return result;
}

void Reranker::score_batch(std::span<const TextPair> pairs, const ScoreOptions& options,
                           const OnResult& on_result) const {
  reranking::BatchScorer batch(*impl_, options, on_result);
  for (std::size_t i = 0; i < pairs.size(); ++i) batch.add(i, pairs[i]);
  batch.flush();
}

std::vector<RankedText> Reranker::rank(std::string_view query, std::span<const std::string_view> texts,
                                       const ScoreOptions& options) const {
  if (labels().size() != 1) {
    throw Error(ErrorCode::kInvalidArgument, "the model has " + std::to_string(labels().size()) +
                                                 " labels, and ranking takes one with a single score");
  }
  std::vector<TextPair> pairs;
  for (const std::string_view text : texts) pairs.push_back({.query = query, .text = text});
  std::vector<RankedText> ranked;
  score_batch(pairs, options, [&](std::size_t i, PairScore& score) {
    ranked.push_back({.index = i, .score = score.scores.front()});
  });
  std::ranges::stable_sort(ranked, std::greater<>(), &RankedText::score);
  return ranked;
}

const std::vector<std::string>& Reranker::labels() const noexcept {
  return impl_->labels;
}

std::size_t Reranker::max_length() const noexcept {
  return impl_->max_length;
}

const std::string& Reranker::family() const noexcept {
  return impl_->engine.facts().family;
}

}  // namespace kvasir
