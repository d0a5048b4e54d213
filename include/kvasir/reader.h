// kvasir/reader.h: answers to questions out of a given text (extractive question answering).
//
//   auto reader = kvasir::Reader::load("models/kvasir-base");
//   auto document = reader.prepare("The treaty was signed in Lund in 1676.", "treaty.txt");
//   auto result = reader.ask("Where was the treaty signed?", document);
//   std::cout << result.answers.at(0).text << '\n';             // Lund
//
// A Reader is a handle to an immutable model: copying it is cheap, and all its const members may be called
// from many threads at once. A Document is text that has been tokenised once; ask it as many questions as you
// like.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/error.h"

namespace kvasir {

// How logits become answers.
enum class Decode {
  kKvasir,  // one normaliser over all windows and documents, calibrated, no duplicates, no overlaps (default)
  kPipeline,  // exactly the question-answering pipeline of transformers 4.57
  kSquad,     // exactly the post-processing of transformers' run_qa example (utils_qa.py), as used for SQuAD
              // scores
};

struct ReaderOptions {
  int threads = 0;       // worker threads, the caller's included; 0 = one per core that the process may use
  std::string isa = "";  // "scalar", "avx2", "avx512"; "" = the best that this processor has
};

// Arguments of one call, by the names of the transformers pipeline and of run_qa. An unset optional takes the
// default of the decoder, listed as kvasir / pipeline / squad.
struct AskOptions {
  Decode decode = Decode::kKvasir;
  std::optional<int> top_k;  // answers to return, >= 1: 1 / 1 / 1
  std::optional<int>
      max_seq_len;  // tokens of question + window + special tokens: min(model's limit, 384) for all
  std::optional<int>
      doc_stride;  // tokens by which neighbouring windows OVERLAP: min(max_seq_len / 2, 128) for all
  std::optional<int> max_answer_len;      // tokens of an answer, before widening to whole words: 30 / 15 / 30
  bool handle_impossible_answer = false;  // "no answer" may be returned: an Answer with empty text
  bool align_to_words = true;             // kvasir, pipeline: widen answers to whole words
  int n_best_size = 20;                   // squad: candidates kept per window and in all
  double null_score_diff_threshold =
      0.0;  // squad: "no answer" wins if its score exceeds the best span's by more
  bool pad_to_max_length =
      false;  // pipeline, squad: run padding through the model as run_qa does by default; slow,
              // and only needed to reproduce its numbers to the last digit
  // Called from the calling thread after each batch with (windows done, windows in all). Must not throw.
  std::function<void(std::size_t done, std::size_t total)> progress;
  // If set and *cancel becomes true, the call throws Error{kCancelled} within a batch.
  const std::atomic<bool>* cancel = nullptr;
};

// A half-open range [start, end) in three units: UTF-8 bytes, Unicode code points (Python), UTF-16 units
// (JavaScript, Java).
struct Range {
  std::size_t byte_start = 0, byte_end = 0;
  std::size_t start = 0, end = 0;
  std::size_t utf16_start = 0, utf16_end = 0;
};

struct Answer {
  std::string
      text;  // exactly the document's bytes in [range.byte_start, range.byte_end); empty = "no answer"
  double score = 0;  // kvasir: calibrated probability in [0, 1]; pipeline: its score, may exceed 1; squad:
                     // softmax over the n best
  Range range;       // within the document
  std::size_t document = 0;  // index of the document among those passed
};

struct Result {
  std::vector<Answer> answers;  // best first, at most top_k
  double no_answer_score = 0;  // kvasir: probability that the documents hold no answer; pipeline: null score;
                               // squad: score_diff = null score - score of the best non-empty span
  std::size_t windows = 0;     // windows that went through the model
};

// Text, tokenised once. Cheap to copy (shared, immutable).
class Document {
 public:
  Document();
  ~Document();
  Document(const Document&);
  Document(Document&&) noexcept;
  Document& operator=(const Document&);
  Document& operator=(Document&&) noexcept;

  const std::string& text() const noexcept;  // UTF-8, as given
  const std::string& name() const noexcept;  // as given to prepare(); may be empty
  std::size_t tokens() const noexcept;       // number of tokens without special ones

 private:
  friend class Reader;
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

// One question over one or more documents.
struct Query {
  std::string question;
  std::vector<Document> documents;
};

class Reader {
 public:
  // Loads a Hugging Face model folder (config.json, tokenizer.json or vocab.txt, model.safetensors).
  // Throws Error: kNotFound, kIo, kFormat (naming file and key or tensor), kUnsupported (family or option).
  static Reader load(const std::filesystem::path& folder, const ReaderOptions& options = {});

  // Tokenises a text. Throws kInvalidArgument for text that is empty or not valid UTF-8 (naming the byte
  // offset), kResourceExhausted for more than 1 GiB.
  Document prepare(std::string text, std::string name = {}) const;

  // Answers one question from one document, or from several as if they were one collection.
  // Throws kInvalidArgument (empty question, option out of range, question too long for the window),
  // kCancelled.
  Result ask(std::string_view question, const Document& document, const AskOptions& options = {}) const;
  Result ask(std::string_view question, std::span<const Document> documents,
             const AskOptions& options = {}) const;

  // Answers many questions; windows of all of them share the model's batches. Results in the order of the
  // queries. on_result (optional) receives each result as soon as it and all before it are complete.
  std::vector<Result> ask_batch(std::span<const Query> queries, const AskOptions& options = {}) const;

  int max_seq_len() const noexcept;  // the model's limit, in tokens
  int threads() const noexcept;
  const char* isa() const noexcept;            // name of the instruction set in use
  const std::string& family() const noexcept;  // config.json's model_type: "bert", "distilbert"

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace kvasir
