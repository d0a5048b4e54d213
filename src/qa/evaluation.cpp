#include "qa/evaluation.h"

#include <limits>
#include <optional>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::qa {

namespace {

// Questions of one call of the reader: enough to fill its batches many times over, few enough that memory
// stays bounded and progress is seen.
constexpr std::size_t kChunk = 256;

class Run {
 public:
  Run(const Reader& reader, const EvaluationCall& call, std::size_t total)
      : reader_(reader), call_(call), options_(call.options), total_(total) {
    options_.handle_impossible_answer = call.version == "v2.0";
    // The chosen answer, and behind a "no answer" the best one. (The pipeline's answers depend on top_k.)
    options_.top_k = options_.handle_impossible_answer && options_.decode != Decode::kPipeline ? 2 : 1;
    options_.progress = [this](std::size_t done, std::size_t windows) { report(done, windows); };
  }

  void add(const SquadQuestion& question, const Document& document) {
    ids_.push_back(&question.id);
    queries_.push_back({.question = question.question, .documents = {document}});
    if (queries_.size() == kChunk) ask();
  }

  Evaluation finish() {
    ask();
    return std::move(result_);
  }

 private:
  void ask() {
    if (queries_.empty()) return;
    const std::vector<AskResult> results = reader_.ask_batch(queries_, options_);
    for (std::size_t i = 0; i < results.size(); ++i) {
      const std::string& id = *ids_[i];
      std::string& chosen = result_.chosen[id];
      std::string& best = result_.best[id];
      if (!results[i].answers.empty()) {
        chosen = results[i].answers.front().text;
      } else if (options_.decode == Decode::kSquad) {
        chosen = "empty";  // what run_qa predicts, literally, for want of a candidate
      }
      for (const Answer& answer : results[i].answers) {
        if (best.empty()) best = answer.text;
      }
      result_.no_answer.emplace_back(id, results[i].no_answer_score);
      result_.windows += results[i].windows;
    }
    queries_.clear();
    ids_.clear();
  }

  void report(std::size_t done, std::size_t windows) const {
    if (!call_.progress || windows == 0) return;
    call_.progress(static_cast<double>(result_.no_answer.size()) + static_cast<double>(queries_.size()) *
                                                                       static_cast<double>(done) /
                                                                       static_cast<double>(windows),
                   total_);
  }

  const Reader& reader_;
  const EvaluationCall& call_;
  AskOptions options_;
  std::size_t total_;
  std::vector<const std::string*> ids_;
  std::vector<Query> queries_;
  Evaluation result_;
};

bool is_asked(const SquadQuestion& question, const std::string& version) {
  return version == "v2.0" || !question.answers.empty();
}

// The number of questions. What cannot be asked is found before the work, not after half of it.
std::size_t count_asked(const SquadDataset& data, const std::string& version) {
  std::size_t total = 0;
  for (const SquadParagraph& paragraph : data.paragraphs) {
    for (const SquadQuestion& question : paragraph.qas) {
      if (!is_asked(question, version)) continue;
      ++total;
      if (!question.question.empty() && !paragraph.context.empty()) continue;
      throw Error(ErrorCode::kFormat, "question " + question.id + " of the data: " +
                                          (question.question.empty() ? "it" : "its context") +
                                          " is empty; take it out");
    }
  }
  return total;
}

}  // namespace

Evaluation evaluate(const Reader& reader, const EvaluationCall& call) {
  Run run(reader, call, count_asked(call.data, call.version));
  for (const SquadParagraph& paragraph : call.data.paragraphs) {
    std::optional<Document> document;  // tokenised once for all questions of the paragraph
    for (const SquadQuestion& question : paragraph.qas) {
      if (!is_asked(question, call.version)) continue;
      if (!document) document = reader.prepare(paragraph.context);
      run.add(question, *document);
    }
  }
  return run.finish();
}

std::vector<Metric> score(const EvaluationCall& call, const Evaluation& evaluation) {
  if (call.version == "v1.1") return score_v1_with_total(call.data, evaluation.chosen);
  std::vector<Metric> metrics = score_v2(call.data, evaluation.chosen);
  if (call.options.decode == Decode::kPipeline) return metrics;
  // The best threshold is looked for among answers to every question, not only among those that passed ours.
  for (const Metric& metric : score_v2(call.data, evaluation.best,
                                       {.na_probabilities = &evaluation.no_answer,
                                       .na_prob_threshold = std::numeric_limits<double>::infinity()})) {
    if (metric.name.starts_with("best_")) metrics.push_back(metric);
  }
  bool any_answer = false;
  for (const SquadParagraph& paragraph : call.data.paragraphs) {
    for (const SquadQuestion& question : paragraph.qas) any_answer = any_answer || !question.answers.empty();
  }
  if (!any_answer) return metrics;
  for (const Metric& metric : score_v1(call.data, evaluation.best)) {
    metrics.push_back({"answerable_" + metric.name, metric.value, metric.integer});
  }
  return metrics;
}

std::vector<Metric> score_v1_with_total(const SquadDataset& data, const Predictions& predictions) {
  std::vector<Metric> metrics = score_v1(data, predictions);
  std::size_t total = 0;
  for (const SquadParagraph& paragraph : data.paragraphs) {
    for (const SquadQuestion& question : paragraph.qas) total += question.answers.empty() ? 0 : 1;
  }
  metrics.push_back({"total", static_cast<double>(total), true});
  return metrics;
}

std::string version_of(const SquadDataset& data) {
  return data.has_impossible() ? "v2.0" : "v1.1";
}

}  // namespace kvasir::qa
