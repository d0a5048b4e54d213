// A reader asked all questions of a SQuAD file.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "kvasir/reader.h"
#include "qa/squad.h"

namespace kvasir::qa {

// What a reader said to the questions that were asked.
struct Evaluation {
  Predictions chosen;         // by question id
  Predictions best;           // the best answer that is not "no answer"
  NaProbabilities no_answer;  // AskResult::no_answer_score; all questions, in the order of the file
  std::size_t windows = 0;
};

struct EvaluationCall {
  const SquadDataset& data;
  std::string
      version;  // "v2.0": all questions are asked, and "no answer" is an answer; "v1.1": those that have one
  // How to ask; top_k and handle_impossible_answer follow from the version.
  AskOptions options = {};
  // Called from time to time with the questions that have been asked, and how many there are.
  std::function<void(double asked, std::size_t total)> progress = {};
};
// Throws kFormat for a question or a context that is empty, kCancelled, and as Reader::ask_batch.
Evaluation evaluate(const Reader& reader, const EvaluationCall& call);

// The metrics of the version; of v2.0 (but for the pipeline's decoder, whose null score does not order
// questions) also those at the best threshold and answerable_exact_match, answerable_f1: the best answer to
// each question that has one.
std::vector<Metric> score(const EvaluationCall& call, const Evaluation& evaluation);

// "v2.0" if any question is unanswerable, else "v1.1".
std::string version_of(const SquadDataset& data);

// score_v1, and the number of questions that it counts as "total": the official script does not print it, but
// without it the percentages say little.
std::vector<Metric> score_v1_with_total(const SquadDataset& data, const Predictions& predictions);

}  // namespace kvasir::qa
