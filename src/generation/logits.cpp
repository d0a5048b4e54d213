// Built with -O3: the inner loops have fixed counts, so that compilers make vectors of them.
#include "generation/logits.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernels.h"

namespace kvasir::generation {

namespace {

// Numbers that are compared next to each other: one AVX-512 register, four of SSE.
constexpr std::size_t kLanes = 16;

const kernels::Fp32Kernels& best_kernels() {
  static const kernels::Fp32Kernels& kernels = kernels::fp32_kernels_for(base::best_isa());
  return kernels;
}

}  // namespace

std::int32_t argmax(std::span<const float> logits) noexcept {
  const float max = best_kernels().maximum(logits.data(), logits.size());
  // In blocks: a vector of comparisons each, and a look at the places in the one that has it.
  const std::size_t whole = logits.size() / kLanes * kLanes;
  std::size_t i = 0;
  for (; i < whole; i += kLanes) {
    int found = 0;
    for (std::size_t j = 0; j < kLanes; ++j) found |= logits[i + j] == max ? 1 : 0;
    if (found != 0) break;
  }
  while (i < logits.size() && logits[i] != max) ++i;
  return static_cast<std::int32_t>(i);
}

double LogitSums::log_sum_exp() const {
  return max + std::log(sum);
}

LogitSums sum_exp(std::span<const float> logits, float scale, std::span<float> exps) noexcept {
  const kernels::Fp32Kernels& kernels = best_kernels();
  const float max = kernels.maximum(logits.data(), logits.size());
  const kernels::SumExpCall call{.x = logits.data(),
                                 .count = logits.size(),
                                 .max = max,
                                 .scale = scale,
                                 .exps = exps.empty() ? nullptr : exps.data()};
  return {.max = max, .sum = kernels.sum_exp(call)};
}

std::vector<ScoredToken> largest(std::span<const float> logits, std::size_t n) {
  n = std::min(n, logits.size());
  std::vector<ScoredToken> kept;  // a heap, the worst first
  if (n == 0) return kept;
  kept.reserve(n + 1);
  const auto better = [](const ScoredToken& a, const ScoredToken& b) {
    return a.score != b.score ? a.score > b.score : a.id < b.id;
  };
  float bound = -std::numeric_limits<float>::infinity();  // what is not above it is not among the best
  for (std::size_t block = 0; block < logits.size(); block += kLanes) {
    const std::size_t end = std::min(block + kLanes, logits.size());
    if (end == block + kLanes) {
      int above = 0;
      for (std::size_t j = 0; j < kLanes; ++j) above |= logits[block + j] > bound ? 1 : 0;
      if (above == 0) continue;
    }
    for (std::size_t i = block; i < end; ++i) {
      if (!(logits[i] > bound)) continue;
      kept.push_back({static_cast<std::int32_t>(i), logits[i]});
      std::push_heap(kept.begin(), kept.end(), better);
      if (kept.size() > n) {
        std::pop_heap(kept.begin(), kept.end(), better);
        kept.pop_back();
      }
      if (kept.size() == n) bound = kept.front().score;
    }
  }
  std::sort_heap(kept.begin(), kept.end(), better);
  return kept;
}

}  // namespace kvasir::generation
