// The post-processing of transformers' run_qa example (utils_qa.py: postprocess_qa_predictions).
//
//  - Per window the n_best_size best starts and ends of ALL positions, pads included; each pair that lies in
//    the context and has at most max_answer_len tokens is a candidate with score start + end (float32).
//  - The best n_best_size candidates of all windows stay, equal scores in the order of their finding, and are
//    scored by a softmax among themselves. No widening, no merging.
//  - version_2 (SQuAD 2.0): the window with the smallest score of position 0 supplies the "no answer"
//    candidate. It wins if its score exceeds that of the best candidate with a non-empty text by more than
//    the threshold.
//  - Without any candidate the reference answers with the literal "empty", scored 0; it is no text of the
//    document, so here the list of answers is empty.
//
// Only pads can have equal logits (in families whose pads do not see their position), and pads are never
// candidates, so the order of ties in the reference's unstable argsort does not matter.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "qa/decoders.h"

namespace kvasir::qa {

namespace {

struct Candidate {
  float score, start_logit, end_logit;
  std::size_t context_index;
  std::size_t byte_begin, byte_end;
  bool null = false;

  bool empty_text() const noexcept { return byte_end <= byte_begin; }
  bool zero_offsets() const noexcept { return byte_begin == 0 && byte_end == 0; }
};

bool higher_score(const Candidate& a, const Candidate& b) noexcept {
  return a.score > b.score;
}

class SquadDecoder final : public SpanDecoder {
 public:
  explicit SquadDecoder(const SquadOptions& options) : options_(options) {}

  void add(const Window& window) override {
    const float null_score = window.start_logits[0] + window.end_logits[0];
    if (!null_ || null_score < null_->score) {
      null_ = Candidate{null_score, window.start_logits[0], window.end_logits[0], 0, 0, 0, true};
    }
    top_positions(window.start_logits, starts_);
    top_positions(window.end_logits, ends_);
    for (const std::uint32_t i : starts_) {
      if (!in_context(window, i)) continue;
      for (const std::uint32_t j : ends_) {
        if (!in_context(window, j) || j < i || j - i + 1 > options_.max_answer_len) continue;
        candidates_.push_back({window.start_logits[i] + window.end_logits[j], window.start_logits[i],
                               window.end_logits[j], window.context_index, window.encoding->offsets[i].begin,
                               window.encoding->offsets[j].end});
      }
    }
    keep_best();
  }

  Decoded finish() override {
    if (!null_) return {};  // no window
    if (options_.version_2) {
      candidates_.push_back(*null_);
      keep_best();
      const bool has_null = std::any_of(candidates_.begin(), candidates_.end(),
                                        [](const Candidate& c) { return c.zero_offsets(); });
      if (!has_null) candidates_.push_back(*null_);
    }
    // Only "no answer" was found, or nothing: beside it stands the reference's literal "empty" with score 0.
    const bool literal_empty =
        candidates_.empty() || (candidates_.size() == 1 && candidates_[0].empty_text());
    const std::vector<double> probabilities = softmax(literal_empty);

    const auto best = std::find_if(candidates_.begin(), candidates_.end(),
                                   [](const Candidate& c) { return !c.empty_text(); });
    const float start_logit = best == candidates_.end() ? 0 : best->start_logit;
    const float end_logit = best == candidates_.end() ? 0 : best->end_logit;
    Decoded decoded;
    decoded.no_answer_score = static_cast<double>(null_->score - start_logit - end_logit);

    std::size_t first = 0;  // the prediction
    if (options_.version_2) {
      if (decoded.no_answer_score > options_.null_score_diff_threshold) {
        first = index_of_null();
      } else if (best == candidates_.end()) {
        return decoded;  // "empty"
      } else {
        first = static_cast<std::size_t>(best - candidates_.begin());
      }
    } else if (literal_empty) {
      return decoded;
    }
    append(decoded, first, probabilities);
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      if (i != first) append(decoded, i, probabilities);
    }
    return decoded;
  }

 private:
  static bool in_context(const Window& window, std::size_t position) noexcept {
    return position < window.encoding->size() &&
           window.encoding->sequence_ids[position] == window.context_sequence;
  }

  // Positions of the n_best_size largest logits, largest first.
  void top_positions(std::span<const float> logits, std::vector<std::uint32_t>& out) const {
    out.resize(logits.size());
    std::iota(out.begin(), out.end(), 0U);
    const std::size_t count = std::min(options_.n_best_size, out.size());
    std::partial_sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count), out.end(),
                      [&](std::uint32_t a, std::uint32_t b) {
                        return logits[a] != logits[b] ? logits[a] > logits[b] : a > b;
                      });
    out.resize(count);
  }

  // Stable, so cutting after every window leaves what one sort of all would.
  void keep_best() {
    std::stable_sort(candidates_.begin(), candidates_.end(), higher_score);
    if (candidates_.size() > options_.n_best_size) candidates_.resize(options_.n_best_size);
  }

  std::vector<double> softmax(bool literal_empty) const {
    std::vector<double> out;
    double max = literal_empty ? 0 : static_cast<double>(candidates_[0].score);
    for (const Candidate& c : candidates_) max = std::max(max, static_cast<double>(c.score));
    double sum = literal_empty ? std::exp(-max) : 0;
    for (const Candidate& c : candidates_) {
      out.push_back(std::exp(static_cast<double>(c.score) - max));
      sum += out.back();
    }
    for (double& value : out) value /= sum;
    return out;
  }

  std::size_t index_of_null() const {
    std::size_t fallback = 0;
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      if (candidates_[i].null) return i;
      if (candidates_[i].zero_offsets()) fallback = i;  // a real but empty span took its place
    }
    return fallback;
  }

  void append(Decoded& decoded, std::size_t index, const std::vector<double>& probabilities) const {
    if (decoded.answers.size() == options_.top_k) return;
    const Candidate& c = candidates_[index];
    decoded.answers.push_back(
        {probabilities[index], c.context_index, c.byte_begin, std::max(c.byte_begin, c.byte_end)});
  }

  SquadOptions options_;
  std::optional<Candidate> null_;
  std::vector<Candidate> candidates_;         // best first
  std::vector<std::uint32_t> starts_, ends_;  // scratch
};

}  // namespace

std::unique_ptr<SpanDecoder> make_squad_decoder(const SquadOptions& options) {
  return std::make_unique<SquadDecoder>(options);
}

}  // namespace kvasir::qa
