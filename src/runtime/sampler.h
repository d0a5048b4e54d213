// Choosing the next token from logits, as transformers 4.57 does: first what changes logits (bias,
// penalties), then temperature, top_k, top_p, min_p, then a draw. Presence and frequency penalties are
// OpenAI's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kvasir::runtime {

struct SamplingOptions {
  float temperature = 0;  // 0: the most probable token, always
  std::size_t top_k = 0;  // only the k most probable; 0: all
  float top_p = 1;        // only the most probable that make up so much, in (0, 1]
  float min_p = 0;        // only those with so much of the probability of the best, in [0, 1]
  float repetition_penalty =
      1;  // > 0: logits of tokens of prompt and output are divided by it, or multiplied if < 0
  float presence_penalty = 0;                     // subtracted from logits of tokens of the output
  float frequency_penalty = 0;                    // the same, as often as they occur
  std::map<std::int32_t, float> logit_bias = {};  // added
  std::uint64_t seed = 0;
};
// Throws kInvalidArgument naming the option.
void check(const SamplingOptions& options, std::size_t vocab_size);

// log(Σ exp(logits)), so that logits - it are log-probabilities.
float log_sum_exp(std::span<const float> logits) noexcept;

// What one sequence has seen, and its random numbers. One number is drawn for each sampled token, so that the
// same seed gives the same text however steps are grouped.
class Sampler {
 public:
  Sampler(const SamplingOptions& options, std::span<const std::int32_t> prompt);

  struct Choice {
    std::int32_t id;
    float logprob;  // of the logits as they came in
  };
  // Chooses, and counts the choice as said. `logits` are changed.
  Choice next(std::span<float> logits);
  // What must not be chosen is -infinity; then penalties and bias.
  void penalise(std::span<float> logits) const noexcept;
  // Counts a token that another chose.
  void count(std::int32_t id);

 private:
  struct Candidate {
    float logit;
    std::int32_t id;
  };
  std::int32_t draw(std::span<const float> logits);
  void keep_top_p();
  double random() noexcept;

  SamplingOptions options_;
  std::unordered_map<std::int32_t, std::size_t> output_;  // how often
  std::vector<std::int32_t> seen_;                        // of prompt and output, each once
  std::vector<Candidate> candidates_;                     // memory that is kept
  std::uint64_t state_;
};

}  // namespace kvasir::runtime
