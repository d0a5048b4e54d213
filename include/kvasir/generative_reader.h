// kvasir/generative_reader.h: answers that a language model writes from documents, with the passages that
// they are based on, checked by a reader.
//
//   kvasir::GenerativeReader writer(reader, generator);
//   auto written = writer.answer("Where was the treaty signed?", {document});
//   std::cout << written.text << '\n';                            // It was signed in Lund [1].
//   std::cout << written.passages.at(0).text << '\n';
//
// The reader finds the passages that matter, the model writes from them and from nothing else, and each
// sentence is compared with what it cites.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/generator.h"
#include "kvasir/reader.h"

namespace kvasir {

// The answer given when the documents contain none.
inline constexpr std::string_view kNotKnown = "I don't know from these documents.";

struct Passage {
  std::string text;
  Range range;               // within the document
  std::size_t document = 0;  // index among those passed
};

struct WrittenSentence {
  std::string text;                    // without the numbers of passages
  std::vector<std::size_t> citations;  // numbers of passages, from 1
  // Whether the cited passages support it: they contain all its numbers and most of its words.
  bool is_supported = false;
};

struct WrittenAnswer {
  std::string text;  // all sentences with their citations, "… [1]"; kNotKnown
  std::vector<WrittenSentence> sentences;
  std::vector<Passage> passages;  // [1] is passages[0]
  bool is_known = false;          // false: text is kNotKnown, and there are no sentences
};

struct WriteOptions {
  // Maximum number of passages to write from, >= 1; fewer are used if the model's context cannot hold them.
  std::size_t max_passages = 5;
  // If the reader's probability that there is no answer exceeds this, the model is not asked.
  double no_answer_threshold = 0.95;
  // For the model. on_text gets the text as it is written, before it is checked.
  GenerateOptions generate = {.max_new_tokens = 200, .prompt_lookup_num_tokens = 8};
};

class GenerativeReader {
 public:
  GenerativeReader(Reader reader, Generator generator)
      : reader_(std::move(reader)), generator_(std::move(generator)) {}

  // Thread-safe. The documents must have been prepared by the reader. Throws as Reader::ask and
  // Generator::chat.
  WrittenAnswer answer(std::string_view question, const std::vector<Document>& documents,
                       const WriteOptions& options = {}) const;

 private:
  Reader reader_;
  Generator generator_;
};

}  // namespace kvasir
