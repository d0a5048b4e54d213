// Passes over the logits of one position. There are as many as the vocabulary has tokens, so each pass takes
// noticeable time.
//
// All give the same bits on every machine: sums have a fixed order, and exp() is the kernels'.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace kvasir::generation {

// The id of the largest logit, the lowest of equal ones. Precondition: not empty, no NaN.
std::int32_t argmax(std::span<const float> logits) noexcept;

struct LogitSums {
  float max = 0;
  double sum = 0;              // Σ exp((x - max) * scale)
  double log_sum_exp() const;  // log Σ exp(x), for a scale of 1
};
// exps, if not empty, gets exp((x - max) * scale) of each logit. A NaN makes the sum NaN.
LogitSums sum_exp(std::span<const float> logits, float scale = 1, std::span<float> exps = {}) noexcept;

struct ScoredToken {
  std::int32_t id;
  float score;
};
// The n largest, largest first, ties by id. -inf is left out.
std::vector<ScoredToken> largest(std::span<const float> logits, std::size_t n);

}  // namespace kvasir::generation
