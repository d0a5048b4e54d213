// SQuAD: the data format (v1.1 and v2.0) and the official metrics.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
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
// Throws kNotFound, kFormat ("FILE: data[3].paragraphs[0].qas[7]: key id is missing").
SquadDataset load_squad(const std::filesystem::path& path);

// Predictions and no-answer probabilities by question id, in file order not needed.
std::map<std::string, std::string> load_predictions(const std::filesystem::path& path);
std::map<std::string, double> load_na_probabilities(const std::filesystem::path& path);

// Lower case, ASCII punctuation out, articles out, white space collapsed (evaluate-v2.0.py:
// normalize_answer).
std::string normalize_answer(std::string_view text);
struct PairScore {
  double exact = 0, f1 = 0;
};
PairScore score_pair_v1(std::string_view gold, std::string_view prediction);
PairScore score_pair_v2(std::string_view gold, std::string_view prediction);

// Metrics in the official scripts' order and under their key names: v1.1 exact_match, f1; v2.0 exact, f1,
// total, HasAns_*, NoAns_*, best_* (with na_prob).
struct Metric {
  std::string name;
  double value = 0;
  bool integer = false;  // a count
};
std::vector<Metric> score_v1(const SquadDataset& data, const std::map<std::string, std::string>& predictions);
struct ScoreV2Options {
  const std::map<std::string, double>* na_probabilities = nullptr;
  double na_prob_threshold = 1.0;
};
std::vector<Metric> score_v2(const SquadDataset& data, const std::map<std::string, std::string>& predictions,
                             const ScoreV2Options& options = {});

}  // namespace kvasir::qa
