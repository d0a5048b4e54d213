// SQuAD: the data format (v1.1 and v2.0) and the official metrics.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvasir::qa {

struct SquadAnswer {
  std::string text;
  std::size_t answer_start = 0;  // code points into the paragraph's context
};
struct SquadQuestion {
  std::string id;
  std::string question;
  std::vector<SquadAnswer> answers;
  bool is_impossible = false;
};
struct SquadParagraph {
  std::string context;
  std::vector<SquadQuestion> qas;
};
struct SquadDataset {
  std::string version;  // as written in the file; may be empty
  std::vector<SquadParagraph> paragraphs;

  std::size_t questions() const noexcept;
  bool has_impossible() const noexcept;  // any is_impossible: score as v2.0
};
// Throws kNotFound, kFormat ("FILE: data[3].paragraphs[0].qas[7]: key id is missing"; also for an id that
// appears twice).
SquadDataset load_squad(const std::filesystem::path& path);

// Answers by question id: {"id": "text", …}. Throws kNotFound, kFormat.
using Predictions = std::map<std::string, std::string>;
Predictions load_predictions(const std::filesystem::path& path);

// Probabilities of "no answer" by question id, in the order of the file: the search for the best threshold
// visits equal values in that order. Throws kNotFound, kFormat.
using NaProbabilities = std::vector<std::pair<std::string, double>>;
NaProbabilities load_na_probabilities(const std::filesystem::path& path);

// Lower case, ASCII punctuation out, articles out, white space collapsed (evaluate-v2.0.py:
// normalize_answer). Precondition of all functions below: texts are well-formed UTF-8.
std::string normalize_answer(std::string_view text);

struct PairScore {
  double exact = 0;  // 0 or 1
  double f1 = 0;     // [0, 1]
};
// The two scripts differ where a normalised text is empty: F1 is 0 under v1.1, and 1 under v2.0 if both are.
PairScore score_pair_v1(std::string_view gold, std::string_view prediction);
PairScore score_pair_v2(std::string_view gold, std::string_view prediction);

// One number under the name that the official script gives it; percentages are in [0, 100].
struct Metric {
  std::string name;
  double value = 0;
  bool integer = false;  // a count
};

// exact_match, f1 over all questions that have answers; one without a prediction counts as 0. Throws
// kInvalidArgument if there is no such question.
std::vector<Metric> score_v1(const SquadDataset& data, const Predictions& predictions);

struct ScoreV2Options {
  // With probabilities: best_exact, best_exact_thresh, best_f1 and best_f1_thresh are there too.
  const NaProbabilities* na_probabilities = nullptr;
  double na_prob_threshold = 1.0;  // a question above it counts as predicted to have no answer
};
// exact, f1, total, HasAns_*, NoAns_* over the questions that have a prediction. Throws kInvalidArgument if
// none has a prediction, or if a question with a prediction has no probability.
std::vector<Metric> score_v2(const SquadDataset& data, const Predictions& predictions,
                             const ScoreV2Options& options = {});

}  // namespace kvasir::qa
