// Kvasir's own decoder: one probability over everything that was searched.
//
// Logits. In a window with start logits s, end logits e and [CLS] at position c, the span of tokens i to j
// has the margin
//
//     m(i, j) = (s_i - s_c) + (e_j - e_c)
//
// over "no answer". The margin compares across windows and documents, the logits alone do not: the model was
// trained to weigh each window's spans against that window's [CLS].
//
// Probability. With the temperature T and the bias b of the model's calibration, over ALL spans of all
// windows of all contexts (at most max_answer_len tokens, both ends tokens of the context and not a literal
// [CLS]),
//
//     Z = exp(b) + sum of exp(m / T),    P(span) = exp(m / T) / Z,    P(no answer) = exp(b) / Z.
//
// Windows overlap. Each span is counted only in the window that shows the most text around it: the one with
// the largest min(tokens left of i, tokens right of j), see span_share(). A span that is whole in any window
// is whole in that one, so overlaps neither lose nor double any.
//
// Z is exact. Per window the sum is taken as sum_i exp(s_i) * (sum_j exp(e_j)): 2 n exponentials and at most
// n * max_answer_len additions for n tokens, in double and relative to the largest start and end; windows are
// joined by log-add-exp. If the products underflow, because the largest start and the largest end are no
// span, they are taken one by one, relative to the largest margin.
//
// Answers. Spans are widened to whole words, and those that become the same bytes are one answer, whose
// probability is their sum. Each window offers its best answers (WindowAnswers), and of those the kPoolSize
// most probable are kept as windows stream by. Neither bound depends on top_k, so the best k answers are
// always the first k of the best k + 1. At the end answers are taken by falling probability, then context,
// then offset, and those that overlap a better one are dropped.
#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "qa/decoders.h"
#include "qa/window_answers.h"
#include "qa/words.h"

namespace kvasir::qa {

namespace {

// Answers that are remembered at once, some 60 bytes each. Far more than anyone asks for, because most of
// them overlap a better one.
constexpr std::size_t kPoolSize = 8192;

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

double log_add(double a, double b) noexcept {
  const double high = std::max(a, b), low = std::min(a, b);
  return low == kMinusInfinity ? high : high + std::log1p(std::exp(low - high));
}

// An answer in the making.
struct Place {
  std::size_t context_index;
  TextRange bytes;
  friend bool operator==(const Place&, const Place&) = default;
};

bool place_before(const Place& a, const Place& b) noexcept {
  if (a.context_index != b.context_index) return a.context_index < b.context_index;
  if (a.bytes.begin != b.bytes.begin) return a.bytes.begin < b.bytes.begin;
  return a.bytes.end < b.bytes.end;
}

struct PlaceHash {
  std::size_t operator()(const Place& place) const noexcept {
    std::uint64_t h = place.bytes.begin * 0x9E3779B97F4A7C15U;
    h = (h ^ (h >> 29) ^ place.bytes.end) * 0xBF58476D1CE4E5B9U;
    h = (h ^ (h >> 32) ^ place.context_index) * 0x94D049BB133111EBU;
    return static_cast<std::size_t>(h ^ (h >> 31));
  }
};

using Scored = std::pair<Place, double>;  // with log weight

bool more_probable(const Scored& a, const Scored& b) noexcept {
  return a.second != b.second ? a.second > b.second : place_before(a.first, b.first);
}

// The most probable answers so far, merged by place.
class Pool {
 public:
  void add(const Place& place, double weight) {
    // Below what the last cut left. Half of an answer that two windows share could count, but not for much.
    if (weight < floor_) return;
    const auto [entry, is_new] = weights_.emplace(place, weight);
    if (!is_new) entry->second = log_add(entry->second, weight);
    if (weights_.size() > 2 * kPoolSize) cut();
  }

  std::vector<Scored> ranked() const {
    std::vector<Scored> all(weights_.begin(), weights_.end());
    std::sort(all.begin(), all.end(), more_probable);
    return all;
  }

 private:
  void cut() {
    std::vector<Scored> all(weights_.begin(), weights_.end());
    std::nth_element(all.begin(), all.begin() + kPoolSize, all.end(), more_probable);
    floor_ = all[kPoolSize].second;
    all.resize(kPoolSize);
    weights_ = {all.begin(), all.end()};
  }

  std::unordered_map<Place, double, PlaceHash> weights_;
  double floor_ = kMinusInfinity;
};

class KvasirDecoder final : public SpanDecoder {
 public:
  KvasirDecoder(std::span<const Context> contexts, const KvasirOptions& options)
      : contexts_(contexts),
        options_(options),
        window_answers_({.max_answer_len = options.max_answer_len,
                         .align_to_words = options.align_to_words,
                         .temperature = options.calibration.temperature}) {}

  void add(const Window& window) override {
    log_total_ = log_add(log_total_, window_answers_.read(contexts_[window.context_index], window));
    for (const WeightedRange& answer : window_answers_.candidates())
      pool_.add({window.context_index, answer.bytes}, answer.log_weight);
  }

  Decoded finish() override {
    const double log_z = log_add(log_total_, options_.calibration.no_answer_bias);
    const auto probability = [&](double weight) { return std::min(1.0, std::exp(weight - log_z)); };
    Decoded decoded;
    decoded.no_answer_score = probability(options_.calibration.no_answer_bias);
    bool null_due = options_.handle_impossible_answer;
    const auto take_null = [&] {
      decoded.answers.push_back({decoded.no_answer_score, 0, 0, 0});
      null_due = false;
    };
    for (const auto& [place, weight] : pool_.ranked()) {
      if (decoded.answers.size() == options_.top_k) break;
      const double score = probability(weight);
      if (null_due && decoded.no_answer_score > score) {
        take_null();
        if (decoded.answers.size() == options_.top_k) break;
      }
      if (overlaps_better(decoded.answers, place)) continue;
      decoded.answers.push_back({score, place.context_index, place.bytes.begin, place.bytes.end});
    }
    if (null_due && decoded.answers.size() < options_.top_k) take_null();
    return decoded;
  }

 private:
  static bool overlaps_better(const std::vector<DecodedAnswer>& answers, const Place& place) noexcept {
    return std::any_of(answers.begin(), answers.end(), [&](const DecodedAnswer& answer) {
      return answer.context_index == place.context_index && answer.byte_begin < place.bytes.end &&
             place.bytes.begin < answer.byte_end;
    });
  }

  std::span<const Context> contexts_;
  KvasirOptions options_;
  WindowAnswers window_answers_;
  double log_total_ = kMinusInfinity;  // log of the sum over the windows so far
  Pool pool_;
};

}  // namespace

std::unique_ptr<SpanDecoder> make_kvasir_decoder(std::span<const Context> contexts,
                                                 const KvasirOptions& options) {
  return std::make_unique<KvasirDecoder>(contexts, options);
}

}  // namespace kvasir::qa
