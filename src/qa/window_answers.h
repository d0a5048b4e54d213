// The answers of one window: spans of tokens that cover the same bytes, with their weights summed. The core
// of the kvasir decoder (decode_kvasir.cpp defines the weights).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "qa/span_decoder.h"
#include "qa/words.h"

namespace kvasir::qa {

struct WeightedRange {
  TextRange bytes;    // of the context
  double log_weight;  // log of the sum of exp(m / T) over the spans that become these bytes
};

class WindowAnswers {
 public:
  struct Options {
    std::size_t max_answer_len;
    bool align_to_words;
    double temperature;
  };
  explicit WindowAnswers(const Options& options) : options_(options) {}

  // Reads a window. Returns the log of the summed weights of all spans in its share, -infinity without any.
  double read(const Context& context, const Window& window);

  // The candidates of the last window, at most kMaxCandidates: per start of an answer the best end, and per
  // end the best start. The best answer is among them, and so is the best one that does not overlap a chosen
  // one (before the chosen one it is the best for its end, after it the best for its start).
  static constexpr std::size_t kMaxCandidates = 128;
  std::span<const WeightedRange> candidates() const noexcept { return candidates_; }

 private:
  // Neighbouring tokens at which answers begin (or end) at the same byte.
  struct Edge {
    std::size_t byte;
    std::uint32_t first, last;  // tokens [first, last) of the slice
    double weight = 0;          // sum of the tokens' factors
  };
  // An answer as indices into begins_ and ends_, with its weight relative to reference_.
  struct Cell {
    double weight = 0;
    std::uint32_t begin = 0, end = 0;
  };

  void weigh(const Context& context, const Window& window);
  void find_edges(const Context& context, const Window& window);
  bool factorize();
  double collect(const Window& window);
  void add_row(std::size_t token, std::size_t first, std::size_t last);
  void offer_row(std::size_t begin, std::size_t first_end, std::size_t last_end);
  void choose();
  double best_span(const Window& window) const;

  // Ends [first, last) of spans that begin at a token and are in the window's share; none if first >= last.
  std::size_t first_end(const Window& window, std::size_t token) const noexcept;
  std::size_t last_end(const Window& window, std::size_t token) const noexcept;

  Options options_;
  // Data of the last window, as members so that memory is reused. Per token of the slice:
  std::vector<double> start_, end_;                // log-weights, -infinity for a token that may be no edge
  std::vector<double> start_factor_, end_factor_;  // exp of them, relative to the largest
  std::vector<std::uint32_t> end_edge_;            // index into ends_
  std::vector<Edge> begins_, ends_;
  bool factorized_ = true;
  double reference_ = 0;                      // log-weight that stands for 1
  std::vector<double> row_;                   // per edge of ends_: the answers that begin at the current edge
  std::vector<Cell> row_best_, column_best_;  // per edge of begins_, of ends_
  std::vector<Cell> cells_;
  std::vector<WeightedRange> candidates_;
};

}  // namespace kvasir::qa
