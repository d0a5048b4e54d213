// Built with -O3: the inner loops have fixed counts, so that compilers make vectors of them.
#include "runtime/logits.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace kvasir::runtime {

namespace {

// Lanes that are summed (or compared) next to each other: one AVX-512 register, four of SSE.
constexpr std::size_t kLanes = 16;

// exp(x) for x <= 0 with a relative error below 2e-7; 0 below -87, where the smallest normal number is near.
// The polynomial is the one of the Cephes library (S. Moshier) for |r| <= ln 2 / 2.
inline float exp_of(float x) noexcept {
  constexpr float kLog2E = 1.44269504F, kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
  constexpr float kRound =
      12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer, which its low bits hold
  const float lowest = x < -87.0F ? -87.0F : x;
  const float rounded = lowest * kLog2E + kRound;
  const float n = rounded - kRound;
  const float r = lowest - n * kLn2High - n * kLn2Low;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const auto power = (std::bit_cast<std::uint32_t>(rounded) + 127U) << 23;
  const float out = p * std::bit_cast<float>(power);
  return x < -87.0F ? 0.0F : out;
}

float maximum(std::span<const float> x) noexcept {
  std::array<float, kLanes> lanes;
  lanes.fill(-std::numeric_limits<float>::infinity());
  const std::size_t whole = x.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  float out = lanes[0];
  for (const float lane : lanes) out = lane > out ? lane : out;
  for (std::size_t i = whole; i < x.size(); ++i) out = x[i] > out ? x[i] : out;
  return out;
}

// Sums of exp over one stretch, in single precision: 64 numbers a lane lose at most 2 of 23 bits of it.
constexpr std::size_t kStretch = 64 * kLanes;

struct Scaled {
  float max, scale;
  float operator()(float x) const noexcept { return exp_of((x - max) * scale); }
};

double sum_stretch(std::span<const float> x, Scaled f, float* exps) noexcept {
  std::array<float, kLanes> lanes{};
  const std::size_t whole = x.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    std::array<float, kLanes> e;
    for (std::size_t j = 0; j < kLanes; ++j) e[j] = f(x[i + j]);
    for (std::size_t j = 0; j < kLanes; ++j) lanes[j] += e[j];
    if (exps != nullptr) std::copy(e.begin(), e.end(), exps + i);
  }
  double sum = 0;
  for (const float lane : lanes) sum += lane;
  for (std::size_t i = whole; i < x.size(); ++i) {
    const float e = f(x[i]);
    sum += e;
    if (exps != nullptr) exps[i] = e;
  }
  return sum;
}

}  // namespace

std::int32_t argmax(std::span<const float> logits) noexcept {
  const float max = maximum(logits);
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
  LogitSums out;
  out.max = maximum(logits);
  for (std::size_t i = 0; i < logits.size(); i += kStretch) {
    const std::size_t count = std::min(kStretch, logits.size() - i);
    out.sum +=
        sum_stretch(logits.subspan(i, count), {out.max, scale}, exps.empty() ? nullptr : exps.data() + i);
  }
  return out;
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

}  // namespace kvasir::runtime
