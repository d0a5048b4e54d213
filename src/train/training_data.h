// Files of questions with their answers, as people have them.
//
//   std::vector<TrainingFile> files = {parse_training_file("squad.json"),
//   parse_training_file("mine.jsonl=4")}; TrainingData data = load_training_data(files);
//
// Formats, told apart by what is in the file:
//  - SQuAD v1.1 and v2.0 (JSON);
//  - flat rows as Hugging Face's datasets have them: {"id", "context", "question", "answers": {"text": […],
//    "answer_start": […]}}, one on each line, in a list, or in {"data": […]};
//  - MRQA: a line {"header": …}, then {"context", "qas": [{"qid", "question", "detected_answers": […]}]}.
//
// One bad row does not spoil a file: rows are checked one by one, bad ones are left out, counted and named.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::train {

struct TrainingFile {
  std::filesystem::path path;
  double weight = 1;  // in (0, 100]: how often an epoch shows its windows, see BatchSampler
};
// FILE or FILE=0.5, as on the command line. An argument that is itself the name of a file is that file.
// Throws kInvalidArgument.
TrainingFile parse_training_file(std::string_view argument);

struct TrainingExample {
  std::string id;  // as in the file; may be empty, need not be unique
  std::string question;
  std::size_t context = 0;  // index into TrainingData::contexts
  bool answerable = false;
  // Of the first answer, as in run_qa; empty if there is none.
  std::string answer_text;
  std::size_t answer_begin = 0, answer_end = 0;  // bytes of the context
  std::size_t file = 0;                          // index into TrainingData::files
};

struct BadRow {
  std::string where;   // "FILE:line 12", "FILE: data[3].paragraphs[0].qas[7]"
  std::string reason;  // "key context is missing"
};
// How many bad rows are kept by name.
inline constexpr std::size_t kNamedBadRows = 20;

struct TrainingData {
  std::vector<std::string> contexts;  // each once, well-formed UTF-8
  std::vector<TrainingExample> examples;
  std::size_t repaired = 0;       // examples whose answer_start was wrong, and could only mean one place
  std::size_t bad = 0;            // rows that were left out
  std::vector<BadRow> first_bad;  // the first kNamedBadRows of them
  std::vector<TrainingFile> files;

  bool has_unanswerable() const noexcept;
};

// Throws kInvalidArgument if there is no file, kNotFound, kIo, kResourceExhausted (over 1 GiB); kFormat for a
// file that is empty, has none of the formats or no row that can be used.
TrainingData load_training_data(std::span<const TrainingFile> files);
// The same for the bytes of one file.
TrainingData parse_training_data(std::string_view bytes, const std::string& name);

}  // namespace kvasir::train
