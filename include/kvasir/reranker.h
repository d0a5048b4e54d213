// kvasir/reranker.h: how well texts answer a query (cross-encoders), and how a classifier labels a pair of
// texts.
//
//   auto reranker = kvasir::Reranker::load("models/ms-marco-MiniLM-L6-v2");
//   std::vector<std::string_view> passages = {"Lund is a town.", "It was signed in 1676."};
//   auto ranked = reranker.rank("When was the treaty signed?", passages);
//   std::cout << passages[ranked.at(0).index] << ' ' << ranked.at(0).score << '\n';
//
// Models are folders of any …ForSequenceClassification. A Reranker is a handle to an immutable model: copying
// it is cheap, and all its const members may be called from many threads at once.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/error.h"

namespace kvasir {

struct RerankerOptions {
  // Worker threads, the caller's included; 0 = one per core that the process may use.
  int threads = 0;
  // "scalar", "avx2", "avx512"; "" = the best that this processor has.
  std::string isa = {};
  // What matrix products are computed in: "fp32", "bf16", "int8", or "auto": as the weights are stored.
  std::string precision = "auto";
  // The cache of fetched models, for a model that is given by its name; "": default_hub_cache() of
  // kvasir/hub.h.
  std::filesystem::path hub_cache = {};
};

struct ScoreOptions {
  // If set and *cancel becomes true, the call throws Error{kCancelled} within a batch of about 1000 tokens.
  const std::atomic<bool>* cancel = nullptr;
};

struct TextPair {
  std::string_view query, text;
};

struct PairScore {
  std::vector<float> logits;  // one for each of labels()
  // With one label: the sigmoid of its logit, or the logit itself where config.json says so
  // (sentence_transformers.activation_fn). With several labels: their probabilities.
  std::vector<float> scores;
  // Tokens that the model read, special ones included, and tokens of the whole pair. The latter is larger if
  // the pair was longer than max_length(); the end of the longer text is left out first.
  std::size_t tokens = 0, pair_tokens = 0;

  bool truncated() const noexcept { return tokens < pair_tokens; }
};

struct RankedText {
  std::size_t index = 0;  // among the texts
  float score = 0;
};

class Reranker {
 public:
  // Throws kNotFound, kIo, kFormat, kUnsupported, kInvalidArgument (a model of another kind, which the
  // message names).
  static Reranker load(const std::filesystem::path& model, const RerankerOptions& options = {});

  // Throws kInvalidArgument for a text that is not UTF-8.
  PairScore score(const TextPair& pair, const ScoreOptions& options = {}) const;
  // Many at once, in order: many times as fast as one by one. on_result(i, score) is called on the calling
  // thread as they come; what it throws ends the call and reaches the caller.
  using OnResult = std::function<void(std::size_t index, PairScore& score)>;
  void score_batch(std::span<const TextPair> pairs, const ScoreOptions& options,
                   const OnResult& on_result) const;

  // All texts, best first; ties keep their order. Throws kInvalidArgument if the model has more than one
  // label.
  std::vector<RankedText> rank(std::string_view query, std::span<const std::string_view> texts,
                               const ScoreOptions& options = {}) const;

  const std::vector<std::string>& labels() const noexcept;  // their names in config.json (id2label)
  std::size_t max_length() const noexcept;                  // of a pair, tokens, special ones included
  const std::string& family() const noexcept;               // config.json's model_type

 private:
  struct Impl;
  explicit Reranker(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace kvasir
