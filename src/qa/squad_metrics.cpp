// The official SQuAD metrics. v1.1: evaluate-v1.1.py (and huggingface/evaluate's metrics/squad); v2.0:
// evaluate-v2.0.py of the SQuAD site. Sums run in the order of the data, in double, as there.
#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "base/json.h"
#include "base/utf8.h"
#include "kvasir/error.h"
#include "qa/squad.h"
#include "unicode/python_text.h"

namespace kvasir::qa {

namespace {

bool ascii_punctuation(char c) noexcept {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

bool article(std::string_view word) noexcept {
  return word == "a" || word == "an" || word == "the";
}

// Replaces each article by a space. \b(a|an|the)\b matches exactly the runs of \w that equal an article.
std::string without_articles(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::size_t run = 0;  // where the current run of \w begins
  const auto close_run = [&](std::size_t end) {
    const std::string_view word = text.substr(run, end - run);
    if (article(word)) {
      out += ' ';
    } else {
      out += word;
    }
  };
  for (std::size_t at = 0; at < text.size();) {
    const base::CodePoint c = base::decode_utf8(text, at);
    if (!unicode::is_word_char(c.value)) {
      close_run(at);
      out += text.substr(at, c.length);
      run = at + c.length;
    }
    at += c.length;
  }
  close_run(text.size());
  return out;
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const base::CodePoint c = base::decode_utf8(text, at);
    if (unicode::is_space(c.value)) {
      if (at > begin) words.push_back(text.substr(begin, at - begin));
      begin = at + c.length;
    }
    at += c.length;
  }
  if (text.size() > begin) words.push_back(text.substr(begin));
  return words;
}

struct Normalized {
  std::string text;
  std::vector<std::string_view> words;  // of text

  explicit Normalized(std::string_view raw) : text(normalize_answer(raw)), words(split(text)) {}
  Normalized(const Normalized&) = delete;
  Normalized& operator=(const Normalized&) = delete;
};

double token_f1(const Normalized& gold, const Normalized& prediction) {
  std::unordered_map<std::string_view, int> counts;
  for (const std::string_view word : gold.words) ++counts[word];
  int same = 0;
  for (const std::string_view word : prediction.words) {
    const auto found = counts.find(word);
    if (found != counts.end() && found->second > 0) {
      --found->second;
      ++same;
    }
  }
  if (same == 0) return 0;
  const double precision = static_cast<double>(same) / static_cast<double>(prediction.words.size());
  const double recall = static_cast<double>(same) / static_cast<double>(gold.words.size());
  return 2 * precision * recall / (precision + recall);
}

enum class Rules { kV1, kV2 };

PairScore score_pair(const Normalized& gold, const Normalized& prediction, Rules rules) {
  PairScore score;
  score.exact = gold.text == prediction.text ? 1 : 0;
  if (rules == Rules::kV2 && (gold.words.empty() || prediction.words.empty())) {
    score.f1 = gold.words.empty() && prediction.words.empty() ? 1 : 0;
  } else {
    score.f1 = token_f1(gold, prediction);
  }
  return score;
}

struct Best {
  double score = 0;
  bool any = false;
  void take(double value) {
    score = any ? std::max(score, value) : value;
    any = true;
  }
};

// The best of all golds, separately for exact match and F1. Under v2.0 golds that normalise to nothing do not
// count, and without any other the gold is "no answer".
PairScore score_question(const SquadQuestion& question, const std::string& prediction_text, Rules rules) {
  const Normalized prediction(prediction_text);
  Best exact, f1;
  for (const SquadAnswer& answer : question.answers) {
    const Normalized gold(answer.text);
    if (rules == Rules::kV2 && gold.text.empty()) continue;
    const PairScore pair = score_pair(gold, prediction, rules);
    exact.take(pair.exact);
    f1.take(pair.f1);
  }
  if (!exact.any) return score_pair(Normalized(""), prediction, rules);
  return {exact.score, f1.score};
}

template <class Visit>
void each_question(const SquadDataset& data, const Visit& visit) {
  for (const SquadParagraph& paragraph : data.paragraphs) {
    for (const SquadQuestion& question : paragraph.qas) visit(question);
  }
}

// One question that has a prediction.
struct Scored {
  const std::string* id;
  bool has_answer;
  bool predicted_empty;  // the raw prediction is "", not merely its normalised form
  PairScore raw;
  PairScore thresholded;
};

struct Sums {
  double exact = 0, f1 = 0;
  std::size_t total = 0;

  void add(const PairScore& score) {
    exact += score.exact;
    f1 += score.f1;
    ++total;
  }
  void append_to(std::vector<Metric>& metrics, const std::string& prefix) const {
    if (total == 0) return;
    const auto count = static_cast<double>(total);
    metrics.push_back({prefix + "exact", 100.0 * exact / count});
    metrics.push_back({prefix + "f1", 100.0 * f1 / count});
    metrics.push_back({prefix + "total", count, true});
  }
};

struct BestThreshold {
  double score = 0;  // percent
  double threshold = 0;
};

// Walks the questions by rising probability: at threshold t all up to t are answered, the others count as
// "no answer". Starts from the unanswerable questions of the whole file, also those without a prediction, but
// divides by the scored ones: so does the official script.
BestThreshold find_best_threshold(const std::vector<std::pair<double, const Scored*>>& by_probability,
                                  std::size_t scored, std::size_t unanswerable, double PairScore::*which) {
  auto score = static_cast<double>(unanswerable);
  BestThreshold best{score, 0.0};
  for (const auto& [probability, question] : by_probability) {
    if (question->has_answer) {
      score += question->raw.*which;
    } else if (!question->predicted_empty) {
      score -= 1;
    }
    if (score > best.score) best = {score, probability};
  }
  best.score = 100.0 * best.score / static_cast<double>(scored);
  return best;
}

void append_best_thresholds(std::vector<Metric>& metrics, const std::vector<Scored>& scored,
                            const NaProbabilities& probabilities, std::size_t unanswerable) {
  std::unordered_map<std::string_view, const Scored*> by_id;
  for (const Scored& question : scored) by_id[*question.id] = &question;
  std::vector<std::pair<double, const Scored*>> order;
  for (const auto& [id, probability] : probabilities) {
    const auto found = by_id.find(id);
    if (found != by_id.end()) order.emplace_back(probability, found->second);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  const BestThreshold exact = find_best_threshold(order, scored.size(), unanswerable, &PairScore::exact);
  const BestThreshold f1 = find_best_threshold(order, scored.size(), unanswerable, &PairScore::f1);
  metrics.push_back({"best_exact", exact.score});
  metrics.push_back({"best_exact_thresh", exact.threshold});
  metrics.push_back({"best_f1", f1.score});
  metrics.push_back({"best_f1_thresh", f1.threshold});
}

void apply_threshold(std::vector<Scored>& scored, const ScoreV2Options& options) {
  std::unordered_map<std::string_view, double> probabilities;
  for (const auto& [id, probability] : *options.na_probabilities) probabilities[id] = probability;
  for (Scored& question : scored) {
    const auto found = probabilities.find(*question.id);
    if (found == probabilities.end()) {
      throw Error(ErrorCode::kInvalidArgument, "no-answer probabilities: question " +
                                                   base::json::serialize(base::json::value(*question.id)) +
                                                   " has a prediction but no probability; add it");
    }
    if (found->second > options.na_prob_threshold) {
      const double right = question.has_answer ? 0 : 1;
      question.thresholded = {right, right};
    }
  }
}

}  // namespace

std::string normalize_answer(std::string_view text) {
  std::string lower = unicode::to_lower(text);
  lower.erase(std::remove_if(lower.begin(), lower.end(), ascii_punctuation), lower.end());
  const std::string bare = without_articles(lower);
  std::string out;
  for (const std::string_view word : split(bare)) {
    if (!out.empty()) out += ' ';
    out += word;
  }
  return out;
}

PairScore score_pair_v1(std::string_view gold, std::string_view prediction) {
  return score_pair(Normalized(gold), Normalized(prediction), Rules::kV1);
}

PairScore score_pair_v2(std::string_view gold, std::string_view prediction) {
  return score_pair(Normalized(gold), Normalized(prediction), Rules::kV2);
}

std::vector<Metric> score_v1(const SquadDataset& data, const Predictions& predictions) {
  Sums sums;
  each_question(data, [&](const SquadQuestion& question) {
    if (question.answers.empty()) return;
    const auto found = predictions.find(question.id);
    sums.add(found == predictions.end() ? PairScore{} : score_question(question, found->second, Rules::kV1));
  });
  if (sums.total == 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "data: no question has an answer, so there is nothing to score by SQuAD v1.1");
  }
  const auto count = static_cast<double>(sums.total);
  return {{"exact_match", 100.0 * sums.exact / count}, {"f1", 100.0 * sums.f1 / count}};
}

std::vector<Metric> score_v2(const SquadDataset& data, const Predictions& predictions,
                             const ScoreV2Options& options) {
  std::vector<Scored> scored;
  std::size_t unanswerable = 0;
  each_question(data, [&](const SquadQuestion& question) {
    if (question.answers.empty()) ++unanswerable;
    const auto found = predictions.find(question.id);
    if (found == predictions.end()) return;
    const PairScore score = score_question(question, found->second, Rules::kV2);
    scored.push_back({&question.id, !question.answers.empty(), found->second.empty(), score, score});
  });
  if (scored.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                "predictions: none is for a question of the data; check that the two files belong together");
  }
  if (options.na_probabilities != nullptr) apply_threshold(scored, options);

  Sums all, has_answer, no_answer;
  for (const Scored& question : scored) {
    all.add(question.thresholded);
    (question.has_answer ? has_answer : no_answer).add(question.thresholded);
  }
  std::vector<Metric> metrics;
  all.append_to(metrics, "");
  has_answer.append_to(metrics, "HasAns_");
  no_answer.append_to(metrics, "NoAns_");
  if (options.na_probabilities != nullptr)
    append_best_thresholds(metrics, scored, *options.na_probabilities, unanswerable);
  return metrics;
}

}  // namespace kvasir::qa
