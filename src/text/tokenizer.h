// A tokenizer as tokenizer.json describes it: added tokens, normaliser, pre-tokeniser, model, post-processor,
// decoder.
//
//   auto tokenizer = text::Tokenizer::load("models/kvasir-base");
//   text::TokenizedText context = tokenizer.tokenize("The treaty was signed in Lund.");
//   text::Encoding pair = tokenizer.encode("Where?", "In Lund.");
//
// Immutable after loading; all const members may be called from many threads at once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/encoding.h"

namespace kvasir::text {

// Special tokens that the question-answering code needs to know by role.
struct SpecialIds {
  std::optional<std::int32_t> cls, sep, pad, unk, mask;
};

class Tokenizer {
 public:
  // Reads tokenizer.json, or vocab.txt with tokenizer_config.json (do_lower_case, strip_accents,
  // tokenize_chinese_chars; these also override the normaliser of a BERT tokenizer.json, as transformers 4
  // does, which takes their defaults where the file is silent: do_lower_case is true). Which class of
  // tokenizer it is, tokenizer_config.json says, else config.json. Throws kNotFound, kIo, kFormat,
  // kUnsupported.
  static Tokenizer load(const std::filesystem::path& folder);

  // Text to tokens, no template. Precondition: well-formed UTF-8. Memory beyond the result: O(longest word)
  // if the parts are BERT's and every added token is sought in the text as it is, otherwise about 20 times
  // the text. Throws kResourceExhausted for more than 1 GiB.
  TokenizedText tokenize(std::string_view text) const;

  // One text or a pair, in the template of the post-processor (or bare).
  struct EncodeOptions {
    bool add_special_tokens = true;
  };
  Encoding encode(std::string_view text, const EncodeOptions& options) const;
  Encoding encode(std::string_view text, std::string_view pair, const EncodeOptions& options) const;
  // The template around two slices of texts tokenised before: how a window is made without tokenising again.
  Encoding join(const TokenizedText& first, ContextSlice first_slice, const TokenizedText& second,
                ContextSlice second_slice) const;
  // Special tokens that the pair template adds (3 for BERT).
  std::size_t pair_template_tokens() const noexcept;

  // Ids to text. Unknown ids are skipped.
  struct DecodeOptions {
    bool skip_special_tokens = false;
    bool clean_up_tokenization_spaces = false;
  };
  std::string decode(std::span<const std::int32_t> ids, const DecodeOptions& options) const;

  std::string_view token(std::int32_t id) const;  // "" for an id that does not exist
  std::optional<std::int32_t> token_id(std::string_view token) const;
  std::size_t vocab_size() const noexcept;  // largest id + 1
  const SpecialIds& special_ids() const noexcept;
  std::size_t model_max_length() const noexcept;  // tokenizer_config.json; SIZE_MAX if it does not say
  const std::vector<std::string>& model_input_names()
      const noexcept;  // of tokenizer_config.json, else of the class; {"input_ids", "token_type_ids",
                       // "attention_mask"}
  bool pad_left() const noexcept;  // tokenizer_config.json: padding_side == "left"

 private:
  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace kvasir::text
