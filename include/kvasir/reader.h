// kvasir/reader.h: answers to questions, taken from a given text (extractive question answering).
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
#include <utility>
#include <vector>

#include "kvasir/error.h"

namespace kvasir {

// How logits become answers.
enum class Decode {
  // Probabilities normalised over all windows and documents and calibrated; no duplicates, no overlaps
  // (default).
  kKvasir,
  // Exactly the question-answering pipeline of transformers 4.57.
  kPipeline,
  // Exactly the post-processing of transformers' run_qa example (utils_qa.py), as used for SQuAD scores.
  kSquad,
};

struct ReaderOptions {
  // Worker threads, the caller's included; 0 = one per core that the process may use.
  int threads = 0;
  // "scalar", "avx2", "avx512"; "" = the best that this processor has.
  std::string isa = {};
  // What matrix products are computed in: "fp32"; "bf16", where the processor has it; "int8": bytes, several
  // times as fast, logits within about 5 % of their spread; "auto": as the weights are stored (int8 for those
  // of `kvasir quantize`, else fp32).
  std::string precision = "auto";
  // Maximum memory for answered questions, their documents' texts and the results. The same question to the
  // same texts with the same options gets the same result again, bit by bit, without running the model.
  // Everything is compared in full, so no other question can get it. 0: no cache.
  std::size_t answer_cache_bytes = std::size_t{16} << 20;
  // The cache of fetched models, for a model that is given by its name; "": default_hub_cache() of
  // kvasir/hub.h.
  std::filesystem::path hub_cache = {};
};

// Arguments of one call, by the names of the transformers pipeline and of run_qa. An unset optional takes the
// default of the decoder, listed as kvasir / pipeline / squad.
//
//   kvasir::AskOptions options;
//   options.top_k = 3;
//   options.handle_impossible_answer = true;
//   auto result = reader.ask("Who signed it?", document, options);
struct AskOptions {
  Decode decode = Decode::kKvasir;

  // Answers to return, >= 1: 1 / 1 / 1. The best k are always the first k of the best k + 1 (kvasir, squad).
  std::optional<int> top_k = {};

  // Tokens of question, window of text and special tokens together, >= 1: min(model's limit, 384) for all.
  // Beyond the model's limit: cut to it / an error if a window is longer / cut to it.
  std::optional<int> max_seq_len = {};

  // Tokens by which neighbouring windows OVERLAP, >= 0: min(max_seq_len / 2, 128) for all. If it is not less
  // than the room for text: reduced / an error / an error.
  std::optional<int> doc_stride = {};

  // Maximum tokens of an answer, before widening to whole words, >= 1: 30 / 15 / 30.
  std::optional<int> max_answer_len = {};

  // "No answer" may be returned: an Answer with empty text.
  bool handle_impossible_answer = false;

  // kvasir, pipeline: widen answers to whole words.
  bool align_to_words = true;

  // squad: candidates kept per window and in all, >= 1.
  int n_best_size = 20;

  // squad: "no answer" wins if its score exceeds the best span's by more than this.
  double null_score_diff_threshold = 0.0;

  // Run padding through the model, as run_qa does by default. Slow, and only needed to reproduce its numbers.
  bool pad_to_max_length = false;

  // Called from the calling thread after each window with (windows done, windows in all). Windows of
  // questions whose result is cached are done at once. What it throws ends the call and reaches the caller.
  std::function<void(std::size_t done, std::size_t total)> progress = {};

  // If set and *cancel becomes true, the call throws Error{kCancelled} within a batch of about 1000 tokens.
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
  // Exactly the document's bytes in [range.byte_start, range.byte_end); empty = "no answer".
  std::string text;

  // kvasir: calibrated probability in [0, 1]; pipeline: its score, may exceed 1; squad: softmax over the
  // n best.
  double score = 0;

  // Within the document. pipeline: an answer that begins at a literal [CLS] of the question may have an end
  // before its start, as in the reference; its text is empty.
  Range range;

  // Index of the document among those passed.
  std::size_t document = 0;
};

struct AskResult {
  // Best first, at most top_k. squad: empty where run_qa predicts its literal "empty" because it has no
  // candidate.
  std::vector<Answer> answers;

  // kvasir: probability that the documents hold no answer; pipeline: null score; squad: score_diff = null
  // score - score of the best non-empty span.
  double no_answer_score = 0;

  // Windows of text that were read. Windows that are the same to the model are run only once.
  std::size_t windows = 0;
};

// Text that has been tokenised once. Cheap to copy (shared, immutable). A default-constructed one is empty
// and contains no answers.
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
  // Bytes [begin, end) of the text in all three units. Precondition: both lie on code point boundaries.
  Range range(std::size_t begin, std::size_t end) const noexcept;

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
  // Loads a Hugging Face model folder (config.json, tokenizer files; model.safetensors, pytorch_model.bin or
  // shards of either), and its kvasir_reader.json if it has one: the calibration of this model's
  // probabilities,
  //   {"format_version": 1, "calibration": {"temperature": 1.0, "no_answer_bias": 0.0}}
  // A name such as "deepset/minilm-uncased-squad2" means a model that was fetched (kvasir/hub.h), unless a
  // folder of that name exists. Throws Error: kNotFound, kIo, kFormat (naming file and key or tensor),
  // kUnsupported (family or option).
  static Reader load(const std::filesystem::path& model, const ReaderOptions& options = {});

  // Tokenises a text. The name appears in error messages. Throws kInvalidArgument for text that is empty or
  // not valid UTF-8 (naming the byte offset), kResourceExhausted for more than 1 GiB or more than fits in
  // memory.
  Document prepare(std::string text, std::string name = {}) const;

  // Answers one question from one document, or from several as if they were one collection.
  // Throws kInvalidArgument (empty question, option out of range, question too long for the window, document
  // of another Reader), kUnsupported (padding that the tokenizer does not have), kFormat (weights that yield
  // no finite logits), kCancelled.
  AskResult ask(std::string_view question, const Document& document, const AskOptions& options = {}) const;
  AskResult ask(std::string_view question, std::span<const Document> documents,
                const AskOptions& options = {}) const;

  // Answers many questions; windows of all of them share the model's batches, and windows that are the same
  // token for token are run once. Results are in the order of the queries. on_result (optional) is called
  // from the calling thread with each result as soon as it and all before it are complete; what it throws
  // ends the call and reaches the caller. All queries are checked before the first one runs. Throws as ask;
  // the message of a bad query begins with its index.
  //
  //   std::vector<kvasir::Query> queries = {{"Where was it signed?", {document}}, {"When?", {document}}};
  //   auto results = reader.ask_batch(queries, {}, [](std::size_t query, const kvasir::AskResult& result) {
  //     std::cout << query << ": " << result.answers.at(0).text << '\n';
  //   });
  using OnResult = std::function<void(std::size_t query, const AskResult& result)>;
  std::vector<AskResult> ask_batch(std::span<const Query> queries, const AskOptions& options = {},
                                   const OnResult& on_result = {}) const;

  int max_seq_len() const noexcept;            // the model's limit, in tokens
  int threads() const noexcept;                // in use, the caller's included
  const char* isa() const noexcept;            // name of the instruction set in use
  const std::string& family() const noexcept;  // config.json's model_type: "bert", "distilbert"

 private:
  struct Impl;
  explicit Reader(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace kvasir
