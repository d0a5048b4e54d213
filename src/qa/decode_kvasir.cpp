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
// Z is exact. Per window the sum is taken as sum_i exp(s_i) * (sum_j exp(e_j)), 2 n exponentials and
// n * max_answer_len additions for n tokens, in double and relative to the largest start and end; windows are
// joined by log-add-exp. If the largest valid margin lies so far below (largest start + largest end) that the
// products underflow, they are taken one by one, relative to the largest margin.
//
// Answers. The kSpansPerWindow best spans of each window are widened to whole words. Spans that become the
// same bytes are one answer, and its probability is the sum over ALL such spans, also those that are not
// among the best. The pool of answers is cut to the kPoolSize most probable as windows stream by. Neither
// bound depends on top_k, so the best k answers are always the first k of the best k + 1. At the end answers
// are taken by falling probability, then context, then offset, and those that overlap a better one are
// dropped.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <vector>

#include "qa/decoders.h"
#include "qa/words.h"

namespace kvasir::qa {

namespace {

// A word of 5 pieces has 15 spans that all widen to it, so 128 spans are some ten different answers, and the
// 128th best span of a trained model is far below the first.
constexpr std::size_t kSpansPerWindow = 128;

// Answers that are remembered at once, 40 bytes each. Far more than anyone asks for, because most of them
// overlap a better one.
constexpr std::size_t kPoolSize = 8192;

// exp(-600) is still a normal double, and a million of them added keep their precision.
constexpr double kUnderflow = 600;

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

double log_add(double a, double b) noexcept {
  const double high = std::max(a, b), low = std::min(a, b);
  return low == kMinusInfinity ? high : high + std::log1p(std::exp(low - high));
}

struct Span {
  double weight;             // m / T
  std::uint32_t begin, end;  // tokens within the slice, end inclusive
};

bool better(const Span& a, const Span& b) noexcept {
  if (a.weight != b.weight) return a.weight > b.weight;
  return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
}

// The spans of one window that are this window's to judge, as ranges of ends per start.
class WindowSpans {
 public:
  WindowSpans(const Window& window, std::size_t max_answer_len)
      : tokens_(window.slice.end - window.slice.begin),
        twice_begin_(2 * window.slice.begin),
        share_(window.share),
        max_answer_len_(max_answer_len) {}

  std::size_t tokens() const noexcept { return tokens_; }
  // Ends [first, last) of spans that begin at i; empty if first >= last.
  std::size_t first_end(std::size_t i) const noexcept {
    const std::size_t shared = share_.begin > twice_begin_ + i ? share_.begin - twice_begin_ - i : 0;
    return std::max(i, shared);
  }
  std::size_t last_end(std::size_t i) const noexcept {
    const std::size_t by_length = max_answer_len_ < tokens_ - i ? i + max_answer_len_ : tokens_;
    const std::size_t by_share = share_.end > twice_begin_ + i ? share_.end - twice_begin_ - i : 0;
    return std::min(by_length, by_share);
  }

 private:
  std::size_t tokens_, twice_begin_;
  SpanShare share_;
  std::size_t max_answer_len_;
};

// The best spans, best first.
void select_spans(const WindowSpans& spans, const std::vector<double>& start, const std::vector<double>& end,
                  std::vector<Span>& heap) {
  heap.clear();  // worst on top
  const double best_end = *std::max_element(end.begin(), end.end());
  double least = kMinusInfinity;  // what a span must exceed
  for (std::size_t i = 0; i < spans.tokens(); ++i) {
    if (!(start[i] + best_end > least)) continue;
    const std::size_t last = spans.last_end(i);
    for (std::size_t j = spans.first_end(i); j < last; ++j) {
      const double weight = start[i] + end[j];
      if (!(weight > least)) continue;
      if (heap.size() == kSpansPerWindow) {
        std::pop_heap(heap.begin(), heap.end(), better);
        heap.pop_back();
      }
      heap.push_back({weight, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j)});
      std::push_heap(heap.begin(), heap.end(), better);
      if (heap.size() == kSpansPerWindow) least = heap.front().weight;
    }
  }
  std::sort_heap(heap.begin(), heap.end(), better);
}

// Sum of values[first, last), in four chains because one would wait for each addition.
double sum_range(const std::vector<double>& values, std::size_t first, std::size_t last) noexcept {
  std::array<double, 4> sums{};
  for (; first + 4 <= last; first += 4) {
    for (std::size_t k = 0; k < 4; ++k) sums[k] += values[first + k];
  }
  for (; first < last; ++first) sums[0] += values[first];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// log of the sum of exp(weight) over all spans. best = the largest weight.
double log_sum(const WindowSpans& spans, const std::vector<double>& start, const std::vector<double>& end,
               double best, std::vector<double>& exp_end) {
  const double best_start = *std::max_element(start.begin(), start.end());
  const double best_end = *std::max_element(end.begin(), end.end());
  double sum = 0;
  if (best_start + best_end - best < kUnderflow) {
    exp_end.resize(end.size());
    std::transform(end.begin(), end.end(), exp_end.begin(), [&](double e) { return std::exp(e - best_end); });
    for (std::size_t i = 0; i < spans.tokens(); ++i) {
      const double weight = std::exp(start[i] - best_start);
      if (weight > 0) sum += weight * sum_range(exp_end, spans.first_end(i), spans.last_end(i));
    }
    return best_start + best_end + std::log(sum);
  }
  for (std::size_t i = 0; i < spans.tokens(); ++i) {
    const std::size_t last = spans.last_end(i);
    for (std::size_t j = spans.first_end(i); j < last; ++j) sum += std::exp(start[i] + end[j] - best);
  }
  return best + std::log(sum);
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
    all.resize(kPoolSize);
    weights_ = {all.begin(), all.end()};
  }

  std::unordered_map<Place, double, PlaceHash> weights_;
};

// Which bytes the tokens of a window come to as ends of an answer, found when asked for.
class Edges {
 public:
  void reset(const Context& context, const text::ContextSlice& slice, bool align_to_words) {
    text_ = context.text;
    offsets_ = std::span(context.tokens->offsets).subspan(slice.begin, slice.end - slice.begin);
    align_to_words_ = align_to_words;
    begins_.assign(offsets_.size(), kUnknown);
    ends_.assign(offsets_.size(), kUnknown);
  }

  // Where an answer begins (ends) whose first (last) token is i. Precondition: the token is not white space.
  std::size_t begin(std::size_t i) {
    if (begins_[i] == kUnknown) {
      const std::size_t at = trimmed(i).begin;
      begins_[i] = align_to_words_ ? widen_begin(text_, at) : at;
    }
    return begins_[i];
  }
  std::size_t end(std::size_t i) {
    if (ends_[i] == kUnknown) {
      const std::size_t at = trimmed(i).end;
      ends_[i] = align_to_words_ ? widen_end(text_, at) : at;
    }
    return ends_[i];
  }

  bool blank(std::size_t i) const {
    const text::ByteSpan span = offsets_[i];
    if (span.begin < span.end && text_[span.begin] > ' ' && text_[span.begin] < 0x7F) return false;
    const TextRange bytes = trimmed(i);
    return bytes.begin >= bytes.end;
  }

 private:
  static constexpr std::size_t kUnknown = std::numeric_limits<std::size_t>::max();

  TextRange trimmed(std::size_t i) const { return trim_space(text_, {offsets_[i].begin, offsets_[i].end}); }

  std::string_view text_;
  std::span<const text::ByteSpan> offsets_;
  bool align_to_words_ = true;
  std::vector<std::size_t> begins_, ends_;
};

class KvasirDecoder final : public SpanDecoder {
 public:
  KvasirDecoder(std::span<const Context> contexts, const KvasirOptions& options)
      : contexts_(contexts), options_(options) {}

  void add(const Window& window) override {
    const WindowSpans spans(window, options_.max_answer_len);
    if (spans.tokens() == 0) return;
    edges_.reset(contexts_[window.context_index], window.slice, options_.align_to_words);
    weigh(window);
    select_spans(spans, start_, end_, best_);
    // Without any span: all are the neighbours', or no token may be an end.
    if (best_.empty() || best_.front().weight == kMinusInfinity) return;
    log_total_ = log_add(log_total_, log_sum(spans, start_, end_, best_.front().weight, exp_end_));
    seen_.clear();
    for (const Span& span : best_) {
      const TextRange bytes{edges_.begin(span.begin), edges_.end(span.end)};
      if (span.weight == kMinusInfinity || bytes.begin >= bytes.end) continue;
      if (std::find(seen_.begin(), seen_.end(), bytes) != seen_.end()) continue;
      seen_.push_back(bytes);
      pool_.add({window.context_index, bytes}, answer_weight(spans, span));
    }
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
  // start_ and end_: log-weights of the slice's tokens, -infinity for those that may not be an end.
  void weigh(const Window& window) {
    const text::Encoding& encoding = *window.encoding;
    std::size_t cls = 0;
    while (cls < encoding.size() && encoding.ids[cls] != window.cls_id) ++cls;
    if (cls == encoding.size()) cls = 0;  // a family without [CLS]: the first token stands for it
    const double scale = 1 / options_.calibration.temperature;
    const double start_cls = static_cast<double>(window.start_logits[cls]);
    const double end_cls = static_cast<double>(window.end_logits[cls]);
    const std::size_t tokens = window.slice.end - window.slice.begin;
    start_.assign(tokens, kMinusInfinity);
    end_.assign(tokens, kMinusInfinity);
    for (std::size_t i = 0; i < tokens; ++i) {
      const std::size_t at = window.context_position + i;
      if (encoding.ids[at] == window.cls_id || edges_.blank(i)) continue;
      start_[i] = (static_cast<double>(window.start_logits[at]) - start_cls) * scale;
      end_[i] = (static_cast<double>(window.end_logits[at]) - end_cls) * scale;
    }
  }

  // Log of the summed weights of all spans of the window that become the same answer as `span`. Their first
  // tokens are neighbours, and so are their last ones, because a later token never has an earlier edge.
  double answer_weight(const WindowSpans& spans, const Span& span) {
    const auto same_begin = [&](std::size_t i) {
      return alive(i) && edges_.begin(i) == edges_.begin(span.begin);
    };
    const auto same_end = [&](std::size_t j) { return alive(j) && edges_.end(j) == edges_.end(span.end); };
    std::size_t first_begin = span.begin, last_begin = span.begin + 1;
    while (first_begin > 0 && same_begin(first_begin - 1)) --first_begin;
    while (last_begin < spans.tokens() && same_begin(last_begin)) ++last_begin;
    std::size_t first_end = span.end, last_end = span.end + 1;
    while (first_end > 0 && same_end(first_end - 1)) --first_end;
    while (last_end < spans.tokens() && same_end(last_end)) ++last_end;

    double sum = 0;  // relative to the best of them, which is `span`
    for (std::size_t i = first_begin; i < last_begin; ++i) {
      const std::size_t stop = std::min(last_end, spans.last_end(i));
      for (std::size_t j = std::max(first_end, spans.first_end(i)); j < stop; ++j)
        sum += std::exp(start_[i] + end_[j] - span.weight);
    }
    return span.weight + std::log(sum);
  }

  bool alive(std::size_t i) const noexcept { return start_[i] != kMinusInfinity; }

  static bool overlaps_better(const std::vector<DecodedAnswer>& answers, const Place& place) noexcept {
    return std::any_of(answers.begin(), answers.end(), [&](const DecodedAnswer& answer) {
      return answer.context_index == place.context_index && answer.byte_begin < place.bytes.end &&
             place.bytes.begin < answer.byte_end;
    });
  }

  std::span<const Context> contexts_;
  KvasirOptions options_;
  double log_total_ = kMinusInfinity;  // log of the sum over the windows so far
  Pool pool_;
  Edges edges_;  // of the current window, like all below
  std::vector<double> start_, end_, exp_end_;
  std::vector<Span> best_;
  std::vector<TextRange> seen_;
};

}  // namespace

std::unique_ptr<SpanDecoder> make_kvasir_decoder(std::span<const Context> contexts,
                                                 const KvasirOptions& options) {
  return std::make_unique<KvasirDecoder>(contexts, options);
}

}  // namespace kvasir::qa
