#include "qa/window_answers.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kvasir::qa {

namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

// Sums of products of factors below this have lost digits to underflow (smallest normal double: 2e-308).
constexpr double kUnderflow = 1e-280;

TextRange bytes_of(std::string_view text, text::ByteSpan token) {
  const auto visible = [&](std::size_t at) { return text[at] > ' ' && text[at] < 0x7F; };
  if (token.begin < token.end && visible(token.begin) && visible(token.end - 1))
    return {token.begin, token.end};
  return trim_space(text, {token.begin, token.end});
}

}  // namespace

double WindowAnswers::read(const Context& context, const Window& window) {
  candidates_.clear();
  if (window.slice.begin == window.slice.end) return kMinusInfinity;
  weigh(context, window);
  if (!factorize()) return kMinusInfinity;
  find_edges(context, window);
  double sum = collect(window);
  if (sum < kUnderflow) {
    // The largest start and the largest end are no span, and those that are lie hundreds of nats below.
    reference_ = best_span(window);
    if (reference_ == kMinusInfinity) return kMinusInfinity;
    factorized_ = false;
    sum = collect(window);
  }
  choose();
  return reference_ + std::log(sum);
}

void WindowAnswers::weigh(const Context& context, const Window& window) {
  const text::Encoding& encoding = *window.encoding;
  std::size_t cls = 0;
  while (cls < encoding.size() && encoding.ids[cls] != window.cls_id) ++cls;
  if (cls == encoding.size()) cls = 0;  // a family without [CLS]: the first token stands for it
  const double scale = 1 / options_.temperature;
  const auto start_cls = static_cast<double>(window.start_logits[cls]);
  const auto end_cls = static_cast<double>(window.end_logits[cls]);
  const std::size_t tokens = window.slice.end - window.slice.begin;
  start_.assign(tokens, kMinusInfinity);
  end_.assign(tokens, kMinusInfinity);
  for (std::size_t i = 0; i < tokens; ++i) {
    const std::size_t at = window.context_position + i;
    const TextRange bytes = bytes_of(context.text, context.tokens->offsets[window.slice.begin + i]);
    if (encoding.ids[at] == window.cls_id || bytes.begin >= bytes.end) continue;
    start_[i] = (static_cast<double>(window.start_logits[at]) - start_cls) * scale;
    end_[i] = (static_cast<double>(window.end_logits[at]) - end_cls) * scale;
  }
}

// False if no token may be an edge.
bool WindowAnswers::factorize() {
  const double best_start = *std::max_element(start_.begin(), start_.end());
  const double best_end = *std::max_element(end_.begin(), end_.end());
  if (best_start == kMinusInfinity) return false;
  start_factor_.resize(start_.size());
  end_factor_.resize(end_.size());
  for (std::size_t i = 0; i < start_.size(); ++i) {
    start_factor_[i] = std::exp(start_[i] - best_start);
    end_factor_[i] = std::exp(end_[i] - best_end);
  }
  reference_ = best_start + best_end;
  factorized_ = true;
  return true;
}

void WindowAnswers::find_edges(const Context& context, const Window& window) {
  begins_.clear();
  ends_.clear();
  end_edge_.resize(start_.size());
  const auto extend = [](std::vector<Edge>& edges, std::size_t byte, std::size_t token, double factor) {
    if (edges.empty() || edges.back().byte != byte)
      edges.push_back({byte, static_cast<std::uint32_t>(token), static_cast<std::uint32_t>(token)});
    edges.back().last = static_cast<std::uint32_t>(token + 1);
    edges.back().weight += factor;
  };
  for (std::size_t i = 0; i < start_.size(); ++i) {
    const text::ByteSpan token = context.tokens->offsets[window.slice.begin + i];
    TextRange bytes = bytes_of(context.text, token);
    if (options_.align_to_words) bytes = widen_to_words(context.text, bytes);
    extend(begins_, bytes.begin, i, start_factor_[i]);
    extend(ends_, bytes.end, i, end_factor_[i]);
    end_edge_[i] = static_cast<std::uint32_t>(ends_.size() - 1);
  }
}

std::size_t WindowAnswers::first_end(const Window& window, std::size_t token) const noexcept {
  const std::size_t sum =
      2 * window.slice.begin + token;  // of the tokens' indices in the context, less the end
  return window.share.begin > sum ? std::max(token, window.share.begin - sum) : token;
}

std::size_t WindowAnswers::last_end(const Window& window, std::size_t token) const noexcept {
  const std::size_t tokens = start_.size();
  const std::size_t by_length =
      options_.max_answer_len < tokens - token ? token + options_.max_answer_len : tokens;
  const std::size_t sum = 2 * window.slice.begin + token;
  return std::min(by_length, window.share.end > sum ? window.share.end - sum : 0);
}

// Sums the weights of all spans by answer, edge of begin by edge of begin; fills cells_ with those to offer.
double WindowAnswers::collect(const Window& window) {
  cells_.clear();
  column_best_.assign(ends_.size(), {});
  row_best_.clear();
  row_.assign(ends_.size(), 0);
  double sum = 0;
  for (std::size_t b = 0; b < begins_.size(); ++b) {
    std::size_t from = ends_.size(), to = 0;  // edges of ends_ that this row touches
    for (std::size_t token = begins_[b].first; token < begins_[b].last; ++token) {
      const std::size_t first = first_end(window, token), last = last_end(window, token);
      if (first >= last || start_[token] == kMinusInfinity) continue;
      add_row(token, first, last);
      from = std::min<std::size_t>(from, end_edge_[first]);
      to = std::max<std::size_t>(to, end_edge_[last - 1] + 1);
    }
    for (std::size_t e = from; e < to; ++e) sum += row_[e];
    offer_row(b, from, to);
    std::fill(row_.begin() + static_cast<std::ptrdiff_t>(std::min(from, to)),
              row_.begin() + static_cast<std::ptrdiff_t>(to), 0.0);
  }
  for (const Cell& cell : column_best_) {
    if (cell.weight > 0 && row_best_[cell.begin].end != cell.end) cells_.push_back(cell);
  }
  return sum;
}

// Adds the spans from one token to the ends [first, last) to row_.
void WindowAnswers::add_row(std::size_t token, std::size_t first, std::size_t last) {
  if (!factorized_) {
    for (std::size_t j = first; j < last; ++j)
      row_[end_edge_[j]] += std::exp(start_[token] + end_[j] - reference_);
    return;
  }
  const double factor = start_factor_[token];
  // Edges that lie wholly within take one product; the first and the last may be cut.
  const std::size_t first_edge = end_edge_[first], last_edge = end_edge_[last - 1];
  for (const std::size_t edge : {first_edge, last_edge}) {
    const std::size_t from = std::max<std::size_t>(first, ends_[edge].first);
    const std::size_t to = std::min<std::size_t>(last, ends_[edge].last);
    for (std::size_t j = from; j < to; ++j) row_[edge] += factor * end_factor_[j];
    if (first_edge == last_edge) return;
  }
  for (std::size_t edge = first_edge + 1; edge < last_edge; ++edge) row_[edge] += factor * ends_[edge].weight;
}

// Notes the best end of a row, and its part in the best starts of the columns.
void WindowAnswers::offer_row(std::size_t begin, std::size_t first_end, std::size_t last_end) {
  Cell best;
  for (std::size_t e = first_end; e < last_end; ++e) {
    // An edge before the begin: a token that is nothing but the inside of a word at the limit of widening.
    if (row_[e] <= 0 || ends_[e].byte <= begins_[begin].byte) continue;
    const Cell cell{row_[e], static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(e)};
    if (cell.weight > best.weight) best = cell;
    if (cell.weight > column_best_[e].weight) column_best_[e] = cell;
  }
  row_best_.push_back(best);
  if (best.weight > 0) cells_.push_back(best);
}

// Turns the best of cells_ into candidates_, best first.
void WindowAnswers::choose() {
  const auto better = [](const Cell& a, const Cell& b) {
    if (a.weight != b.weight) return a.weight > b.weight;
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  };
  if (cells_.size() > kMaxCandidates) {
    std::nth_element(cells_.begin(), cells_.begin() + kMaxCandidates, cells_.end(), better);
    cells_.resize(kMaxCandidates);
  }
  std::sort(cells_.begin(), cells_.end(), better);
  for (const Cell& cell : cells_) {
    candidates_.push_back(
        {{begins_[cell.begin].byte, ends_[cell.end].byte}, reference_ + std::log(cell.weight)});
  }
}

// The largest log-weight of a span.
double WindowAnswers::best_span(const Window& window) const {
  double best = kMinusInfinity;
  for (std::size_t i = 0; i < start_.size(); ++i) {
    for (std::size_t j = first_end(window, i); j < last_end(window, i); ++j)
      best = std::max(best, start_[i] + end_[j]);
  }
  return best;
}

}  // namespace kvasir::qa
