// kvasir/generator.h: text written by a language model: Llama 2 and its relatives, Vicuna, Falcon, BLOOM,
// MPT.
//
//   auto generator = kvasir::Generator::load("models/vicuna-7b");
//   auto result = generator.generate("The capital of Sweden is", {.max_new_tokens = 16});
//   std::cout << result.sequences.at(0).text << '\n';
//
// A Generator is a handle: copying it is cheap, and all its const members may be called from many threads at
// once. Concurrent requests are run together, token by token, and requests that begin with the same tokens (a
// system prompt, the same passages) compute that beginning once.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/error.h"

namespace kvasir {

struct GeneratorOptions {
  // Worker threads; 0 = one per core that the process may use.
  int threads = 0;
  // "scalar", "avx2", "avx512"; "" = the best that this processor has.
  std::string isa = {};
  // What matrix products are computed in: "auto" as the weights are stored; "fp32", "bf16", "int8".
  std::string precision = "auto";
  // The type in which keys and values are kept: "f32"; "f16"; "q8_0": bytes with a scale for each 32, in
  // about half of the memory of f16; "auto": f32 for models whose weights are stored so, else f16.
  std::string kv_type = "auto";
  // Memory for keys and values, in bytes, taken as it is needed; 0 = a quarter of the machine's.
  std::size_t kv_bytes = 0;
  // How conversations become prompts: "" = the model's own template; else the name of a built-in one
  // ("llama-2-chat", "vicuna", "falcon-instruct", "mpt-instruct", "chatml", "bloomz") or a file in Jinja.
  std::string chat_template = {};
  // For models on a server.
  std::string api_key = {};
  // The cache of fetched models, for a model that is given by its name; "": default_hub_cache() of
  // kvasir/hub.h.
  std::filesystem::path hub_cache = {};
};

// Names and meanings are those of transformers' GenerationConfig, presence_penalty, frequency_penalty and
// logit_bias those of OpenAI's API. Sampling settings in the model's generation_config.json are ignored; its
// eos_token_id is used.
struct GenerateOptions {
  // Maximum number of tokens to write, >= 1. Fewer if the model's context ends (but see context_shift).
  std::size_t max_new_tokens = 256;

  // 0: always the most probable token. Otherwise logits are divided by this and tokens are drawn.
  float temperature = 0;
  // Only the k most probable; 0: all.
  std::size_t top_k = 0;
  // Only the most probable tokens that together reach this probability, in [0, 1].
  float top_p = 1;
  // Only tokens with at least this share of the probability of the most probable one, in [0, 1].
  float min_p = 0;
  // Logits of tokens that occur in prompt or output are divided by this, or multiplied if negative; > 0.
  float repetition_penalty = 1;
  // Subtracted from the logits of tokens that occur in the output: once, and once per occurrence.
  float presence_penalty = 0, frequency_penalty = 0;
  // Added to the logits of tokens; -infinity forbids one.
  std::map<std::int32_t, float> logit_bias = {};
  // Seed of the draws. The same seed gives the same text.
  std::uint64_t seed = 0;

  // Writing ends before the first occurrence of any of these strings.
  std::vector<std::string> stop = {};
  // The end-of-text token does not end the text.
  bool ignore_eos = false;

  // A JSON schema, as text; "": none. Each sequence is then JSON that the schema allows and ends where the
  // JSON ends, with finish_reason "stop". A sequence with finish_reason "length" is the beginning of such
  // JSON. The model does not see the schema, so the prompt should say what is wanted. Keywords:
  // docs/language-models.md; others are refused. Not together with stop and ignore_eos. A server gets it as
  // its response_format.
  std::string json_schema = {};

  // Number of beams of beam search; 1: no beam search. Not together with temperature.
  std::size_t num_beams = 1;
  // Beams are compared by their sums of log-probabilities / tokens ^ length_penalty.
  float length_penalty = 1;
  // "false", "true", "never", as in transformers.
  std::string early_stopping = "false";
  // Number of texts to return: the best beams, or independent draws.
  std::size_t num_return_sequences = 1;

  // Guess up to this many tokens at a time by looking up what followed the latest tokens earlier in prompt
  // and output; 0: do not. The text is the same, in fewer steps where it is copied from the prompt. Not with
  // beams.
  std::size_t prompt_lookup_num_tokens = 0;

  // If true, a prompt that is too long loses its beginning; if false, it is an error.
  bool truncate = false;
  // When the model's context is full, the older half of what was read and written is dropped, and writing
  // continues as if the rest were the prompt; a prompt that is too long is treated in the same way. If false,
  // texts end with finish_reason "length".
  bool context_shift = false;
  // Number of tokens at the beginning that truncate and context_shift never drop; at most half of the
  // context. Unset: for a chat, what precedes its first message (the system prompt), otherwise the bos.
  std::optional<std::size_t> context_keep = {};
  // The prompt gets the special tokens of the tokenizer (the bos of Llama). False: for prompts that contain
  // them.
  bool add_special_tokens = true;

  // Called from the calling thread with each piece of the first sequence's text as soon as it is final; not
  // with beams. What it throws ends the call and reaches the caller.
  std::function<void(std::string_view text)> on_text = {};
  // If set and *cancel becomes true, the call throws Error{kCancelled} after the current step.
  const std::atomic<bool>* cancel = nullptr;
};

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

struct GeneratedSequence {
  std::string text;               // without special tokens, cut at a stop string
  std::vector<std::int32_t> ids;  // the tokens written, the eos included
  std::vector<float> logprobs;    // of each id: log-softmax of the model's logits
  std::string finish_reason;      // "stop": eos or a stop string; "length"
  double score = 0;               // of beam search; otherwise the sum of logprobs
};

struct GenerateResult {
  std::vector<std::int32_t> prompt_ids;
  std::vector<GeneratedSequence> sequences;  // best first
  std::size_t cached_tokens = 0;             // tokens of the prompt that another request had computed
  double prompt_seconds = 0;                 // time to the first token
  double seconds = 0;                        // in all
};

class Generator {
 public:
  // Loads a model: a folder of the Hugging Face kind; a GGUF file, or a folder that holds one and no
  // config.json; a model that was fetched (kvasir/hub.h), by its name, such as "bigscience/bloomz-560m";
  // "openai://HOST:PORT/NAME" (or openais://, by HTTPS), a model on a server that speaks OpenAI's API, as
  // vLLM, llama.cpp and Ollama do. Throws Error: kNotFound, kIo, kFormat, kUnsupported, kInvalidArgument
  // (options).
  static Generator load(const std::filesystem::path& model, const GeneratorOptions& options = {});

  // Continues the prompt. Throws Error: kInvalidArgument (options; an empty prompt without bos; a prompt
  // longer than the context), kCancelled, kResourceExhausted; kIo from a server.
  GenerateResult generate(std::string_view prompt, const GenerateOptions& options = {}) const;
  // The same for token ids.
  GenerateResult generate(const std::vector<std::int32_t>& prompt_ids,
                          const GenerateOptions& options = {}) const;
  // Answers the last message of a conversation. Throws as generate(), and kUnsupported if the model has no
  // chat template.
  GenerateResult chat(const std::vector<ChatMessage>& messages, const GenerateOptions& options = {}) const;
  // Whether chat() works: the model has a template, or is on a server.
  bool can_chat() const noexcept;
  // The prompt that chat() makes of the messages. Throws kUnsupported for a model on a server, which makes
  // its own.
  std::string chat_prompt(const std::vector<ChatMessage>& messages) const;

  // Number of tokens of a text, without special ones; an estimate for a model on a server.
  std::size_t count_tokens(std::string_view text) const;
  // Logits of every position: consume(position, logits) for 0, 1, …, with logits [vocab_size].
  void logits(
      const std::vector<std::int32_t>& ids,
      const std::function<void(std::size_t position, const std::vector<float>& logits)>& consume) const;

  const std::string& family() const noexcept;  // "llama", …; for a model on a server its name
  // Tokens, prompt and output together. 0 for a model on a server, which does not say; so are the following.
  std::size_t context_length() const noexcept;
  std::size_t vocab_size() const noexcept;
  std::size_t parameters() const noexcept;
  // What bounds the speed: the bytes of weights that each token reads (or each batch of tokens), and the
  // multiply-adds of the matrix products of a prompt. 0 for a model on a server.
  std::size_t weight_bytes() const noexcept;
  double multiply_adds(std::size_t tokens) const noexcept;
  int threads() const noexcept;

 private:
  struct Impl;
  explicit Generator(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace kvasir
