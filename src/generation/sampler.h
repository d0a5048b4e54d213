// Chooses the next token of one sequence from its logits.
//
//   Sampler sampler({.temperature = 0.7F, .top_p = 0.9F, .seed = 1, .do_sample = true}, prompt_ids);
//   const SampledToken next = sampler.sample(logits);
//   sampler.accept(next.id);
//
// The meaning and order of the options are those of transformers 4.57: logit_bias, repetition_penalty,
// (presence and frequency, which are OpenAI's,) temperature, top_k, top_p, min_p.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <unordered_map>
#include <vector>

#include "generation/logits.h"
#include "generation/token_constraint.h"

namespace kvasir::generation {

struct SamplingOptions {
  bool do_sample = false;        // false: always the most probable token; temperature to min_p are ignored
  float temperature = 1;         // below 1e-5: as do_sample = false
  std::size_t top_k = 0;         // only the k most probable (and ties with the last); 0: all
  float top_p = 1;               // only the fewest most probable that reach this probability together
  float min_p = 0;               // only those that have this share of the largest probability
  float repetition_penalty = 1;  // divides logits of tokens of prompt and output (multiplies below 0)
  float presence_penalty = 0;    // subtracted for tokens of the output
  float frequency_penalty = 0;   // the same, once per occurrence
  std::map<std::int32_t, float> logit_bias = {};  // added; -inf forbids
  std::uint64_t seed = 0;
  std::size_t top_logprobs = 0;  // how many alternatives to report
};
// Throws kInvalidArgument that names the option.
void check(const SamplingOptions& options);

struct SampledToken {
  std::int32_t id = 0;
  float logprob = 0;                           // log-softmax of the unchanged logits
  std::vector<ScoredToken> top_logprobs = {};  // the most probable tokens with their logprobs
};

// One number of [0, 1) for each (seed, position, attempt), the same on every machine: SplitMix64 (Steele, Lea
// and Flood, 2014), started from the seed, at place 2 * position + attempt; its upper 53 bits.
double uniform(std::uint64_t seed, std::uint64_t position, unsigned attempt) noexcept;

// The state of one sequence: its options, its tokens so far, and how many it has drawn.
class Sampler {
 public:
  // Throws as check().
  Sampler(SamplingOptions options, std::span<const std::int32_t> prompt);

  // Chooses a token; changes the logits. The n-th token of a sequence depends only on the options, the logits
  // and the tokens before. With a constraint, the token is first drawn without it; only if it is not allowed,
  // the forbidden tokens are masked and another one is drawn. Throws kFormat for logits that are NaN,
  // kInvalidArgument for an id of logit_bias beyond the logits, or if no token is left to choose.
  SampledToken sample(std::span<float> logits, const TokenConstraint* constraint = nullptr);
  // Appends the token to the sequence.
  void accept(std::int32_t id);

  // The tokens that may be drawn with their probabilities, by id: what sample() draws from. Changes the
  // logits.
  std::vector<ScoredToken> distribution(std::span<float> logits);

  // Applies bias and penalties, as sample() does before it chooses. Throws as sample().
  void penalize(std::span<float> logits) const;

  const SamplingOptions& options() const noexcept { return options_; }

 private:
  struct Seen {
    std::int32_t id;
    std::size_t in_output;
  };
  bool greedy() const noexcept { return !options_.do_sample || options_.temperature < 1e-5F; }
  void see(std::int32_t id, std::size_t in_output);
  std::int32_t choose(std::span<const float> logits, unsigned attempt);
  void select(std::span<const float> logits);
  void keep_top_k();
  void keep_top_p();
  template <class Keep>
  void keep_if(Keep keep);

  SamplingOptions options_;
  std::vector<Seen> seen_;
  std::unordered_map<std::int32_t, std::size_t> seen_at_;
  std::uint64_t position_ = 0;  // tokens accepted
  // Scratch: the remaining tokens, by id, with their logits and exp((logit - max) / temperature).
  std::vector<std::int32_t> ids_;
  std::vector<float> logits_, weights_;
  std::vector<float> raw_, order_;
};

}  // namespace kvasir::generation
