// Beam search: chooses which of several continuations to extend. It only keeps the books; the caller runs the
// model.
//
//   BeamSearch search({.num_beams = 4, .max_new_tokens = 64, .eos_token_ids = {2}});
//   while (!search.done()) {
//     const auto logits = …;  // one row for each of search.live() beams; at first the prompt's last
//     for (const auto& [parent, token] : search.step(logits)) …  // beam i: beam `parent`, then `token`
//   }
//   for (const auto& answer : search.finish()) …
//
// The rules are those of transformers 4.57: the score of a sequence is its log-probability /
// length^length_penalty, where the length is the number of generated tokens, the end token included.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace kvasir::generation {

enum class EarlyStopping {
  kNo,    // stop when the best live beam at its present length is not better than the finished ones
  kYes,   // stop as soon as there are num_beams finished ones
  kNever  // stop when no live beam can become better any more
};

struct BeamSearchOptions {
  std::size_t num_beams = 4;
  std::size_t max_new_tokens = 16;
  float length_penalty = 1;
  EarlyStopping early_stopping = EarlyStopping::kNo;
  std::vector<std::int32_t> eos_token_ids = {};
  std::size_t num_return_sequences = 1;
};

class BeamSearch {
 public:
  // Throws kInvalidArgument that names the option.
  explicit BeamSearch(BeamSearchOptions options);

  struct Continuation {
    std::size_t parent;  // index of the live beam before
    std::int32_t token;
  };
  // Changes the log-probabilities of one beam's next token, as logit processors do (repetition penalty,
  // constraints). `tokens` are those that the beam has generated. -inf forbids a token.
  using Adjust = std::function<void(std::span<const std::int32_t> tokens, std::span<float> logprobs)>;
  // Whether a beam that has generated these tokens is finished without an end token.
  using IsOver = std::function<bool(std::span<const std::int32_t> tokens)>;
  // Takes the logits of the live beams' next tokens [live(), vocabulary]; they are changed. Returns the live
  // beams of the next step, best first; there may be none. Ties go to the lower beam, then the lower token.
  // Throws kInvalidArgument for a wrong number of rows, kFormat for logits that are NaN. Precondition: not
  // done().
  std::vector<Continuation> step(std::span<float> logits, const Adjust& adjust = nullptr,
                                 const IsOver& is_over = nullptr);

  bool done() const noexcept { return done_; }
  std::size_t live() const noexcept { return live_.size(); }  // 1 at first: the prompt
  std::span<const std::int32_t> tokens(std::size_t beam) const { return live_[beam].tokens; }

  struct Hypothesis {
    std::vector<std::int32_t> tokens;  // with the end token, if it has one
    std::vector<float> logprobs;       // of each token
    float score = 0;
    bool ended = false;  // with an end token, not by the limit
  };
  // The best num_return_sequences, best first. Before done(): of the finished beams and the live ones in
  // their present state.
  std::vector<Hypothesis> finish() const;

 private:
  struct Beam {
    std::vector<std::int32_t> tokens;
    std::vector<float> logprobs;
    float sum = 0;  // of the log-probabilities
  };
  struct Candidate {
    float sum;
    std::size_t parent;
    std::int32_t token;
    float logprob;
  };
  std::vector<Candidate> candidates(std::span<float> logits, const Adjust& adjust) const;
  float score(float sum, std::size_t length) const noexcept;
  bool is_end(const Candidate& candidate, const IsOver& is_over) const;
  Hypothesis hypothesis(const Candidate& candidate, bool ended) const;
  static void insert(std::vector<Hypothesis>& finished, Hypothesis hypothesis, std::size_t most);
  bool may_improve() const noexcept;

  BeamSearchOptions options_;
  std::vector<Beam> live_;
  std::vector<Hypothesis> finished_;  // best first, at most num_beams
  std::size_t length_ = 0;            // tokens generated
  bool done_ = false;
};

}  // namespace kvasir::generation
