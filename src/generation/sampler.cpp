#include "generation/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::generation {

namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

struct Range {
  float low, high;
};

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, what);
}

std::string shown(float value) {
  std::string text = std::to_string(value);
  if (text.find('.') != std::string::npos)
    text.erase(std::max(text.find_last_not_of('0'), text.find('.') + 1) + 1);
  return text;
}

// NaN is in no range.
void check_range(const char* option, float value, Range range) {
  if (value >= range.low && value <= range.high) return;
  fail(std::string("option ") + option + " = " + shown(value) + " is not in [" + shown(range.low) + ", " +
       shown(range.high) + "]");
}

[[noreturn]] void fail_without_choice() {
  fail("all tokens are forbidden (by logit_bias or the form of the output), so there is none to choose");
}

// Of a partial sort: what lies up to 32 below the largest, in steps of 1/128.
constexpr float kBucketsPerUnit = 128;
constexpr std::size_t kBuckets = 4096;

// Sorted from the most probable; of equal ones the higher id first, because transformers drops from the other
// end of a stable sort.
struct Candidate {
  float logit, weight;
  std::int32_t id;
  bool operator<(const Candidate& other) const noexcept {
    return logit != other.logit ? logit > other.logit : id > other.id;
  }
};

}  // namespace

void check(const SamplingOptions& options) {
  constexpr float kMax = std::numeric_limits<float>::max();
  check_range("temperature", options.temperature, {0, 1e6F});
  check_range("top_p", options.top_p, {0, 1});
  check_range("min_p", options.min_p, {0, 1});
  check_range("repetition_penalty", options.repetition_penalty, {1e-6F, 1e6F});
  check_range("presence_penalty", options.presence_penalty, {-2, 2});  // OpenAI's ranges
  check_range("frequency_penalty", options.frequency_penalty, {-2, 2});
  for (const auto& [id, bias] : options.logit_bias) {
    if (id < 0) fail("option logit_bias: there is no token " + std::to_string(id));
    if (!(bias == kForbidden || (bias >= -kMax && bias <= kMax))) {
      fail("option logit_bias: the bias of token " + std::to_string(id) + " is no number");
    }
  }
}

double uniform(std::uint64_t seed, std::uint64_t position, unsigned attempt) noexcept {
  const auto mix = [](std::uint64_t x) {
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
    x = (x ^ x >> 27) * 0x94D049BB133111EB;
    return x ^ x >> 31;
  };
  constexpr std::uint64_t kGamma = 0x9E3779B97F4A7C15;
  const std::uint64_t place = 2 * position + attempt + 1;
  return static_cast<double>(mix(mix(seed) + place * kGamma) >> 11) * 0x1p-53;
}

Sampler::Sampler(SamplingOptions options, std::span<const std::int32_t> prompt)
    : options_(std::move(options)) {
  check(options_);
  for (const std::int32_t id : prompt) see(id, 0);
}

void Sampler::see(std::int32_t id, std::size_t in_output) {
  const auto [at, is_new] = seen_at_.try_emplace(id, seen_.size());
  if (is_new) seen_.push_back({id, 0});
  seen_[at->second].in_output += in_output;
}

void Sampler::accept(std::int32_t id) {
  see(id, 1);
  ++position_;
}

void Sampler::penalize(std::span<float> logits) const {
  for (const auto& [id, bias] : options_.logit_bias) {
    if (static_cast<std::size_t>(id) >= logits.size()) {
      fail("option logit_bias: there is no token " + std::to_string(id));
    }
    logits[static_cast<std::size_t>(id)] += bias;
  }
  const float repetition = options_.repetition_penalty;
  const float presence = options_.presence_penalty, frequency = options_.frequency_penalty;
  if (repetition == 1 && presence == 0 && frequency == 0) return;
  for (const auto& [id, count] : seen_) {
    if (static_cast<std::size_t>(id) >= logits.size()) continue;  // padding ids of a tokenizer
    float& logit = logits[static_cast<std::size_t>(id)];
    logit = logit < 0 ? logit * repetition : logit / repetition;
    if (count > 0) logit -= presence + frequency * static_cast<float>(count);
  }
}

template <class Keep>
void Sampler::keep_if(Keep keep) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    if (!keep(i)) continue;
    ids_[kept] = ids_[i];
    logits_[kept] = logits_[i];
    weights_[kept] = weights_[i];
    ++kept;
  }
  ids_.resize(kept);
  logits_.resize(kept);
  weights_.resize(kept);
}

// All that are not below the k-th.
void Sampler::keep_top_k() {
  constexpr std::size_t kFew = 256;  // for which a heap is faster than partitioning all
  const std::size_t k = options_.top_k;
  float lowest = kForbidden;
  if (k <= kFew) {
    const auto best = largest(logits_, k);
    if (best.size() == k) lowest = best.back().score;
  } else {
    order_ = logits_;
    const auto kth = order_.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::nth_element(order_.begin(), kth, order_.end(), std::greater<>());
    lowest = *kth;
  }
  keep_if([&](std::size_t i) { return logits_[i] >= lowest; });
}

// The most probable of those left, down to the one with which they reach top_p: each has less than that above
// it. Sorting all would take 10 ms for 128,000: they are thrown into buckets, and only the bucket in which
// top_p is reached is sorted.
void Sampler::keep_top_p() {
  std::array<double, kBuckets> mass{};
  const float max = *std::max_element(logits_.begin(), logits_.end());
  const float scale = kBucketsPerUnit / options_.temperature;
  const auto bucket = [&](float logit) {
    const float place = (max - logit) * scale;
    return place < static_cast<float>(kBuckets - 1) ? static_cast<std::size_t>(place) : kBuckets - 1;
  };
  double total = 0;
  for (std::size_t i = 0; i < logits_.size(); ++i) mass[bucket(logits_[i])] += weights_[i];
  for (const double one : mass) total += one;
  const double wanted = static_cast<double>(options_.top_p) * total;
  std::size_t last = 0;
  double above = 0;
  while (last + 1 < kBuckets && above + mass[last] < wanted) above += mass[last++];

  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < logits_.size(); ++i) {
    if (bucket(logits_[i]) == last) candidates.push_back({logits_[i], weights_[i], ids_[i]});
  }
  std::sort(candidates.begin(), candidates.end());
  Candidate lowest = candidates.front();  // the bucket has some: its mass is what reaches top_p
  for (const Candidate& one : candidates) {
    if (above >= wanted && &one != candidates.data()) break;
    lowest = one;
    above += one.weight;
  }
  keep_if([&](std::size_t i) {
    return logits_[i] > lowest.logit || (logits_[i] == lowest.logit && ids_[i] >= lowest.id);
  });
}

// Leaves what may be drawn in ids_, logits_ and weights_.
void Sampler::select(std::span<const float> logits) {
  logits_.assign(logits.begin(), logits.end());
  ids_.resize(logits.size());
  std::iota(ids_.begin(), ids_.end(), 0);
  weights_.resize(logits.size());
  if (options_.top_k > 0 && options_.top_k < logits.size()) keep_top_k();
  const LogitSums sums = sum_exp(logits_, 1 / options_.temperature, weights_);
  if (sums.max == kForbidden) fail_without_choice();
  if (options_.top_p < 1) keep_top_p();
  if (options_.min_p > 0) keep_if([&](std::size_t i) { return weights_[i] >= options_.min_p; });
}

std::int32_t Sampler::choose(std::span<const float> logits, unsigned attempt) {
  if (greedy()) {
    const std::int32_t best = argmax(logits);
    if (logits[static_cast<std::size_t>(best)] == kForbidden) fail_without_choice();
    return best;
  }
  select(logits);
  double total = 0;
  for (const float weight : weights_) total += weight;
  const double drawn = uniform(options_.seed, position_, attempt) * total;
  double below = 0;
  std::int32_t chosen = ids_.front();
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    if (weights_[i] == 0) continue;
    chosen = ids_[i];  // the last one, should rounding leave `below` short of what was drawn
    below += weights_[i];
    if (below > drawn) break;
  }
  return chosen;
}

SampledToken Sampler::sample(std::span<float> logits, const TokenConstraint* constraint) {
  const LogitSums sums = sum_exp(logits);
  if (!std::isfinite(sums.sum) || !std::isfinite(sums.max)) {
    throw Error(ErrorCode::kFormat,
                "the model gave logits that are no numbers (NaN or infinite); its weights may be damaged");
  }
  raw_.assign(logits.begin(), logits.end());
  penalize(logits);
  SampledToken out;
  out.id = choose(logits, 0);
  if (constraint != nullptr && !constraint->allows(out.id)) {
    constraint->mask(logits);
    out.id = choose(logits, 1);
  }
  const double log_sum_exp = sums.log_sum_exp();
  const auto logprob = [&](float logit) { return static_cast<float>(logit - log_sum_exp); };
  out.logprob = logprob(raw_[static_cast<std::size_t>(out.id)]);
  if (options_.top_logprobs > 0) out.top_logprobs = largest(raw_, options_.top_logprobs);
  for (ScoredToken& one : out.top_logprobs) one.score = logprob(one.score);
  return out;
}

std::vector<ScoredToken> Sampler::distribution(std::span<float> logits) {
  penalize(logits);
  if (greedy()) return {{choose(logits, 0), 1}};
  select(logits);
  double total = 0;
  for (const float weight : weights_) total += weight;
  std::vector<ScoredToken> out;
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    if (weights_[i] > 0) out.push_back({ids_[i], static_cast<float>(weights_[i] / total)});
  }
  return out;
}

}  // namespace kvasir::generation
