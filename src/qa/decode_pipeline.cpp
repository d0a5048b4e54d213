// The question-answering pipeline of transformers 4.57 (pipelines/question_answering.py), step by step:
//
//  1. The tokens of the context are allowed, and every token whose id is that of [CLS], also one that was
//     written in the text. If the context comes first (padding_side = left), the reference's mask is all
//     zeros: every token is allowed.
//  2. Logits of other tokens become -10000. Softmax over the window follows, for starts and for ends, in
//     float32.
//  3. The null score is the product of the first position's two probabilities, the smallest over all windows.
//  4. The first position cannot be part of an answer.
//  5. A span of at most max_answer_len tokens has the score p_start * p_end.
//  6. Of the best 2 top_k + 10 spans of a window (top_k if words are not aligned), those whose ends are both
//     allowed are kept. Spans of score 0 are dropped here; in the reference their order is an accident of
//     NumPy's sorting.
//  7. A span becomes characters: from the first to the last character of its two tokens' words, as far as
//     they lie in this window, or the tokens' own offsets.
//  8. Spans with the same text, ignoring case, are one answer, over all windows: their scores are added, and
//     the place that was found first is kept.
//
// The reference's oddities are reproduced too. An answer may begin at a [CLS] in the question, whose word is
// then looked up among the words of the context; or its offsets may be those of the question. The end of such
// an answer can lie before its beginning; its text is then empty, as with a slice in Python. One thing is
// corrected: offsets beyond the end of the document are cut to it.
#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>

#include "base/utf8.h"
#include "qa/decoders.h"
#include "unicode/python_text.h"

namespace kvasir::qa {

namespace {

constexpr float kMaskedLogit = -10000.0F;  // the reference's

struct Cell {
  float score;
  std::uint32_t start, end;  // positions in the sequence
};

// Better first: score, then the place in the flattened matrix, as argmax has it.
bool better(const Cell& a, const Cell& b) noexcept {
  if (a.score != b.score) return a.score > b.score;
  return a.start != b.start ? a.start < b.start : a.end < b.end;
}

// Probabilities of one row of logits after masking.
void masked_softmax(std::span<const float> logits, const std::vector<bool>& allowed,
                    std::vector<float>& out) {
  const std::size_t n = allowed.size();
  out.resize(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = allowed[i] ? logits[i] : kMaskedLogit;
  const float max = *std::max_element(out.begin(), out.end());
  double sum = 0;
  for (float& value : out) {
    value = std::exp(value - max);
    sum += static_cast<double>(value);
  }
  const auto total = static_cast<float>(sum);
  for (float& value : out) value /= total;
}

// The best `count` spans with a positive score, best first.
std::vector<Cell> best_spans(const std::vector<float>& start, const std::vector<float>& end,
                             std::size_t max_answer_len, std::size_t count) {
  std::vector<Cell> heap;  // worst on top
  for (std::size_t i = 0; i < start.size(); ++i) {
    if (start[i] == 0) continue;
    const std::size_t stop = max_answer_len < end.size() - i ? i + max_answer_len : end.size();
    for (std::size_t j = i; j < stop; ++j) {
      const float score = start[i] * end[j];
      if (!(score > (heap.size() < count ? 0.0F : heap.front().score))) continue;
      if (heap.size() == count) {
        std::pop_heap(heap.begin(), heap.end(), better);
        heap.pop_back();
      }
      heap.push_back({score, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j)});
      std::push_heap(heap.begin(), heap.end(), better);
    }
  }
  std::sort_heap(heap.begin(), heap.end(), better);
  return heap;
}

struct Bytes {
  std::size_t begin, end;  // end < begin: see above
};

class PipelineDecoder final : public SpanDecoder {
 public:
  PipelineDecoder(std::span<const Context> contexts, const PipelineOptions& options)
      : contexts_(contexts), options_(options) {}

  void add(const Window& window) override {
    const text::Encoding& encoding = *window.encoding;
    allowed_.resize(encoding.size());
    for (std::size_t i = 0; i < allowed_.size(); ++i) {
      allowed_[i] = window.context_sequence == 0 || encoding.sequence_ids[i] == 1 ||
                    (window.cls_id >= 0 && encoding.ids[i] == window.cls_id);
    }
    masked_softmax(window.start_logits, allowed_, start_);
    masked_softmax(window.end_logits, allowed_, end_);
    null_score_ = std::min(null_score_, static_cast<double>(start_[0] * end_[0]));
    start_[0] = end_[0] = 0;

    const std::size_t count = options_.align_to_words ? 2 * options_.top_k + 10 : options_.top_k;
    for (const Cell& cell : best_spans(start_, end_, options_.max_answer_len, count)) {
      if (!allowed_[cell.start] || !allowed_[cell.end]) continue;
      take(window.context_index, bytes_of(window, cell), static_cast<double>(cell.score));
    }
  }

  Decoded finish() override {
    if (options_.handle_impossible_answer) {
      answers_.push_back({null_score_, 0, 0, 0});
    } else if (answers_.empty()) {
      answers_.push_back({});  // nothing scored above 0: what the reference returns is (0, 0) with score 0
    }
    std::stable_sort(answers_.begin(), answers_.end(),
                     [](const DecodedAnswer& a, const DecodedAnswer& b) { return a.score > b.score; });
    if (answers_.size() > options_.top_k) answers_.resize(options_.top_k);
    return {std::move(answers_), null_score_};
  }

 private:
  void take(std::size_t context_index, Bytes bytes, double score) {
    const std::size_t length = bytes.end > bytes.begin ? bytes.end - bytes.begin : 0;
    const std::string_view text = contexts_[context_index].text.substr(bytes.begin, length);
    const auto [known, is_new] = by_text_.emplace(unicode::to_lower(text), answers_.size());
    if (is_new) {
      answers_.push_back({score, context_index, bytes.begin, bytes.end});
    } else {
      answers_[known->second].score += score;
    }
  }

  Bytes bytes_of(const Window& window, const Cell& cell) const {
    Bytes bytes{};
    if (!(options_.align_to_words && word_bytes(window, cell, bytes))) {
      bytes = {token_edge(window, cell.start, &text::ByteSpan::begin),
               token_edge(window, cell.end, &text::ByteSpan::end)};
    }
    const std::size_t size = contexts_[window.context_index].text.size();
    return {std::min(bytes.begin, size), std::min(bytes.end, size)};
  }

  // Encoding.token_to_word and word_to_chars: the word's index is looked up in the context, whatever text the
  // token belongs to. False if there is no such word in the window.
  static bool word_bytes(const Window& window, const Cell& cell, Bytes& out) {
    const text::Encoding& encoding = *window.encoding;
    const auto first = encoding.word_ids.begin() + static_cast<std::ptrdiff_t>(window.context_position);
    const auto last = first + static_cast<std::ptrdiff_t>(window.slice.end - window.slice.begin);
    const auto [start_from, start_to] = std::equal_range(first, last, encoding.word_ids[cell.start]);
    const auto [end_from, end_to] = std::equal_range(first, last, encoding.word_ids[cell.end]);
    if (start_from == start_to || end_from == end_to) return false;
    out.begin = encoding.offsets[static_cast<std::size_t>(start_from - encoding.word_ids.begin())].begin;
    out.end = encoding.offsets[static_cast<std::size_t>(end_to - encoding.word_ids.begin()) - 1].end;
    return true;
  }

  // A token's own offset. One of the question counts code points there, and is read as if it counted them in
  // the context.
  std::size_t token_edge(const Window& window, std::size_t position,
                         std::uint32_t text::ByteSpan::*edge) const {
    const text::Encoding& encoding = *window.encoding;
    const std::size_t byte = encoding.offsets[position].*edge;
    const std::int32_t sequence = encoding.sequence_ids[position];
    if (sequence == window.context_sequence || sequence == text::Encoding::kNone) return byte;
    std::size_t code_points = 0;
    for (std::size_t at = 0; at < byte; ++code_points) at += base::decode_utf8(window.question, at).length;
    const std::string_view context = contexts_[window.context_index].text;
    std::size_t at = 0;
    for (; code_points > 0 && at < context.size(); --code_points) at += base::decode_utf8(context, at).length;
    return at;
  }

  std::span<const Context> contexts_;
  PipelineOptions options_;
  double null_score_ = 1e6;  // as in the reference; any product of probabilities is smaller
  std::vector<DecodedAnswer> answers_;
  std::unordered_map<std::string, std::size_t> by_text_;  // lower-cased text -> index into answers_
  std::vector<bool> allowed_;                             // scratch
  std::vector<float> start_, end_;                        // scratch
};

}  // namespace

std::unique_ptr<SpanDecoder> make_pipeline_decoder(std::span<const Context> contexts,
                                                   const PipelineOptions& options) {
  return std::make_unique<PipelineDecoder>(contexts, options);
}

}  // namespace kvasir::qa
