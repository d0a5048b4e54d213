#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "kvasir/error.h"

namespace kvasir::runtime {

namespace {

// Candidates that are sorted at first for top_p: nearly always they make up as much as is asked for, and
// sorting 100,000 would take 10 ms.
constexpr std::size_t kFirstSorted = 256;

[[noreturn]] void refuse(const char* option, float value, const char* range) {
  throw Error(ErrorCode::kInvalidArgument,
              std::string(option) + " = " + std::to_string(value) + " is not " + range);
}

bool is_before(float a_logit, std::int32_t a_id, float b_logit, std::int32_t b_id) noexcept {
  return a_logit > b_logit || (a_logit == b_logit && a_id < b_id);
}

}  // namespace

void check(const SamplingOptions& o, std::size_t vocab_size) {
  if (!(o.temperature >= 0) || std::isinf(o.temperature)) refuse("temperature", o.temperature, "0 or more");
  if (!(o.top_p > 0 && o.top_p <= 1)) refuse("top_p", o.top_p, "in (0, 1]");
  if (!(o.min_p >= 0 && o.min_p <= 1)) refuse("min_p", o.min_p, "in [0, 1]");
  if (!(o.repetition_penalty > 0) || std::isinf(o.repetition_penalty)) {
    refuse("repetition_penalty", o.repetition_penalty, "more than 0");
  }
  if (!std::isfinite(o.presence_penalty)) refuse("presence_penalty", o.presence_penalty, "a number");
  if (!std::isfinite(o.frequency_penalty)) refuse("frequency_penalty", o.frequency_penalty, "a number");
  for (const auto& [id, bias] : o.logit_bias) {
    if (std::isnan(bias)) refuse("logit_bias", bias, "a number");
    if (id < 0 || static_cast<std::size_t>(id) >= vocab_size) {
      throw Error(ErrorCode::kInvalidArgument, "logit_bias: token id " + std::to_string(id) +
                                                   " is out of range [0, " + std::to_string(vocab_size) +
                                                   ")");
    }
  }
}

float log_sum_exp(std::span<const float> logits) noexcept {
  const float max = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float x : logits) sum += static_cast<double>(std::exp(x - max));
  return max + static_cast<float>(std::log(sum));
}

Sampler::Sampler(const SamplingOptions& options, std::span<const std::int32_t> prompt)
    : options_(options), state_(options.seed) {
  if (options_.repetition_penalty == 1) return;
  seen_.assign(prompt.begin(), prompt.end());
  std::ranges::sort(seen_);
  seen_.erase(std::ranges::unique(seen_).begin(), seen_.end());
}

void Sampler::count(std::int32_t id) {
  ++output_[id];
  if (options_.repetition_penalty == 1) return;
  const auto place = std::ranges::lower_bound(seen_, id);
  if (place == seen_.end() || *place != id) seen_.insert(place, id);
}

void Sampler::penalise(std::span<float> logits) const noexcept {
  for (const auto& [id, bias] : options_.logit_bias) logits[static_cast<std::size_t>(id)] += bias;
  for (const std::int32_t id : seen_) {
    float& x = logits[static_cast<std::size_t>(id)];
    x = x > 0 ? x / options_.repetition_penalty : x * options_.repetition_penalty;
  }
  if (options_.presence_penalty == 0 && options_.frequency_penalty == 0) return;
  for (const auto& [id, times] : output_) {
    logits[static_cast<std::size_t>(id)] -=
        options_.presence_penalty + static_cast<float>(times) * options_.frequency_penalty;
  }
}

Sampler::Choice Sampler::next(std::span<float> logits) {
  const float total = log_sum_exp(logits);
  // Penalties touch few logits: what a token's was is found by undoing none of them, so it is kept here.
  std::vector<std::pair<std::size_t, float>> before;
  const auto keep = [&](std::int32_t id) {
    before.emplace_back(static_cast<std::size_t>(id), logits[static_cast<std::size_t>(id)]);
  };
  for (const auto& [id, bias] : options_.logit_bias) keep(id);
  for (const std::int32_t id : seen_) keep(id);
  for (const auto& [id, times] : output_) keep(id);
  penalise(logits);

  std::int32_t id = 0;
  if (options_.temperature == 0 || options_.top_k == 1) {
    id = static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin());
  } else {
    id = draw(logits);
  }
  const auto at = static_cast<std::size_t>(id);
  const auto kept = std::ranges::find(before, at, &std::pair<std::size_t, float>::first);
  const float raw = kept == before.end() ? logits[at] : kept->second;
  count(id);
  return {.id = id, .logprob = raw - total};
}

// SplitMix64 (Steele et al. 2014): the same numbers on every machine.
double Sampler::random() noexcept {
  std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1p-53;
}

// Leaves the most probable candidates that together make up top_p, sorted.
void Sampler::keep_top_p() {
  const auto before = [](const Candidate& a, const Candidate& b) {
    return is_before(a.logit, a.id, b.logit, b.id);
  };
  const float max = std::ranges::max_element(candidates_, {}, &Candidate::logit)->logit;
  double total = 0;
  for (const Candidate& c : candidates_) total += std::exp(static_cast<double>(c.logit - max));
  for (std::size_t sorted = 0; sorted < candidates_.size();) {
    const std::size_t end = std::min(candidates_.size(), std::max(kFirstSorted, 4 * sorted));
    std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(end),
                      candidates_.end(), before);
    double sum = 0;
    for (std::size_t i = 0; i < end; ++i) {
      sum += std::exp(static_cast<double>(candidates_[i].logit - max));
      // As the reference: a token goes if it and what is less probable make up 1 - top_p at most.
      if (sum < static_cast<double>(options_.top_p) * total) continue;
      candidates_.resize(i + 1);
      return;
    }
    sorted = end;
  }
}

std::int32_t Sampler::draw(std::span<const float> logits) {
  candidates_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] == -std::numeric_limits<float>::infinity()) continue;
    candidates_.push_back({.logit = logits[i] / options_.temperature, .id = static_cast<std::int32_t>(i)});
  }
  const auto before = [](const Candidate& a, const Candidate& b) {
    return is_before(a.logit, a.id, b.logit, b.id);
  };
  if (options_.top_k > 0 && options_.top_k < candidates_.size()) {
    const auto kth = candidates_.begin() + static_cast<std::ptrdiff_t>(options_.top_k - 1);
    std::nth_element(candidates_.begin(), kth, candidates_.end(), before);
    const float least = kth->logit;  // those that equal the k-th stay
    std::erase_if(candidates_, [&](const Candidate& c) { return c.logit < least; });
  }
  if (options_.top_p < 1) keep_top_p();
  const float max = std::ranges::max_element(candidates_, {}, &Candidate::logit)->logit;
  if (options_.min_p > 0) {
    const float least = max + std::log(options_.min_p);
    std::erase_if(candidates_, [&](const Candidate& c) { return c.logit < least; });
  }
  double total = 0;
  for (const Candidate& c : candidates_) total += std::exp(static_cast<double>(c.logit - max));
  double left = random() * total;
  for (const Candidate& c : candidates_) {
    left -= std::exp(static_cast<double>(c.logit - max));
    if (left < 0) return c.id;
  }
  return candidates_.back().id;
}

}  // namespace kvasir::runtime
