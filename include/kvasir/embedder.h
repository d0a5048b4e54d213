// kvasir/embedder.h: vectors of texts, whose similarity says how close their meanings are.
//
//   auto embedder = kvasir::Embedder::load("models/all-MiniLM-L6-v2");
//   auto first = embedder.embed("A man is eating pasta.");
//   auto second = embedder.embed("Someone has a meal.");
//   std::cout << embedder.similarity(first.vector, second.vector) << '\n';
//
// Models are folders in the layout of sentence-transformers (modules.json). Vectors are those of its
// encode(), to rounding. An Embedder is a handle to an immutable model: copying it is cheap, and all its
// const members may be called from many threads at once.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/error.h"

namespace kvasir {

struct EmbedderOptions {
  // Worker threads, the caller's included; 0 = one per core that the process may use.
  int threads = 0;
  // "scalar", "avx2", "avx512"; "" = the best that this processor has.
  std::string isa = {};
  // What matrix products are computed in: "fp32", "bf16", "int8", or "auto": as the weights are stored.
  std::string precision = "auto";
  // The cache of fetched models, for a model that is given by its name; "": default_hub_cache() of
  // kvasir/hub.h.
  std::filesystem::path hub_cache = {};
};

struct EmbedOptions {
  // Which of the model's prompts precedes each text ("query"). Unset: its default prompt, if it has one.
  std::optional<std::string> prompt_name = {};
  // A text to use instead of one of the model's prompts.
  std::optional<std::string> prompt = {};
  // If set and *cancel becomes true, the call throws Error{kCancelled} within a batch of about 1000 tokens.
  const std::atomic<bool>* cancel = nullptr;
};

// A text that has a prompt of its own.
struct EmbedText {
  std::string_view text;
  std::optional<std::string> prompt_name = {};  // unset: that of the options
};

struct Embedding {
  std::vector<float> vector;  // dimension() numbers
  // Tokens that the model read, special ones included, and tokens of the whole text. The latter is larger if
  // the text was longer than max_seq_length() and its end was left out.
  std::size_t tokens = 0, text_tokens = 0;

  bool truncated() const noexcept { return tokens < text_tokens; }
};

class Embedder {
 public:
  // Loads a folder in the layout of sentence-transformers, or an encoder's, whose vectors are then the means
  // of all tokens. Throws kNotFound, kIo, kFormat, kUnsupported, kInvalidArgument (a model of another kind,
  // which the message names).
  static Embedder load(const std::filesystem::path& model, const EmbedderOptions& options = {});

  // Throws kInvalidArgument for a text that is not UTF-8, and for a prompt that the model does not have.
  Embedding embed(std::string_view text, const EmbedOptions& options = {}) const;
  // Many at once, in order: many times as fast as one by one. on_result(i, embedding) is called on the
  // calling thread as they come; what it throws ends the call and reaches the caller.
  using OnResult = std::function<void(std::size_t index, Embedding& embedding)>;
  void embed_batch(std::span<const EmbedText> texts, const EmbedOptions& options,
                   const OnResult& on_result) const;

  // How similar two vectors are, by the function that the model was trained for, similarity_name(). Higher
  // means more similar: for distances it is the negated distance. Throws kInvalidArgument if their lengths
  // differ.
  double similarity(std::span<const float> a, std::span<const float> b) const;

  std::size_t dimension() const noexcept;
  std::size_t max_seq_length() const noexcept;  // tokens, special ones included
  const std::map<std::string, std::string>& prompts() const noexcept;
  std::string similarity_name() const;         // "cosine", "dot", "euclidean", "manhattan"
  const std::string& family() const noexcept;  // config.json's model_type

 private:
  struct Impl;
  explicit Embedder(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace kvasir
