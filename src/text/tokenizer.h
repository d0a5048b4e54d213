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
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/model_folder.h"
#include "text/encoding.h"

namespace kvasir::text {

class Decoder;

// Special tokens that the question-answering code needs by role.
struct SpecialIds {
  std::optional<std::int32_t> cls, sep, pad, unk, mask;
};

struct AddedToken;
struct GgufVocabulary;

class Tokenizer {
 public:
  // Reads tokenizer.json; otherwise the files from which the tokenizer's class can be built: vocab.txt (BERT
  // and its relatives, MPNet), vocab.json with merges.txt (RoBERTa, Longformer, BART, GPT-2), the model file
  // of SentencePiece (ALBERT, XLM-RoBERTa, DeBERTa-v2, Llama). The class is that of tokenizer_config.json,
  // otherwise of config.json. tokenizer_config.json overrides the same settings as in transformers 4.57,
  // including the defaults of the class: the normaliser of BERT and its relatives (do_lower_case defaults to
  // true), add_prefix_space, trim_offsets, add_bos_token. Throws kNotFound, kIo, kFormat, kUnsupported.
  static Tokenizer load(const formats::ModelFolder& folder);
  // From a GGUF file's metadata; see gguf_vocabulary.h. `origin` names the file in errors.
  static Tokenizer from_gguf(const GgufVocabulary& vocabulary, const std::string& origin);

  // Text to tokens, no template. Precondition: well-formed UTF-8. Memory beyond the result: that of a slice
  // of some 4 KiB (30 times its size), or of the longest stretch without "x y" (x, y ASCII letters or
  // digits), for the tokenizers of published models; BERT's and byte-level ones mostly need it for the
  // longest word only. For parts that do not allow slices, about 30 times the text. No words are kept from
  // one call to the next. Throws kResourceExhausted for more than 1 GiB, and if a regular expression takes
  // too long; kFormat for a character that the vocabulary lacks, if it also lacks the unknown token.
  TokenizedText tokenize(std::string_view text) const;

  // One text or a pair, with the template of the post-processor or without.
  struct EncodeOptions {
    bool add_special_tokens = true;
  };
  Encoding encode(std::string_view text, const EncodeOptions& options) const;
  Encoding encode(std::string_view text, std::string_view pair, const EncodeOptions& options) const;
  // Puts the template around slices of two tokenised texts: makes a window without tokenising again.
  Encoding join(const TokenizedText& first, ContextSlice first_slice, const TokenizedText& second,
                ContextSlice second_slice) const;
  // The same for one text.
  Encoding join(const TokenizedText& text, ContextSlice slice) const;
  // Special tokens that the templates add: to one text (2 for BERT), to a pair (3).
  std::size_t single_template_tokens() const noexcept;
  std::size_t pair_template_tokens() const noexcept;

  // Ids to text. Unknown ids are skipped.
  struct DecodeOptions {
    bool skip_special_tokens = false;
    bool clean_up_tokenization_spaces = false;
  };
  std::string decode(std::span<const std::int32_t> ids, const DecodeOptions& options) const;
  // The token for which decode() writes text; nullopt for an id that it skips.
  std::optional<std::string_view> decoded_token(std::int32_t id, const DecodeOptions& options) const;
  // The bytes that the token adds in the middle of a text; empty for special tokens and unknown ids.
  std::string token_bytes(std::int32_t id) const;
  const Decoder& decoder() const noexcept;

  std::string_view token(std::int32_t id) const;  // "" for an id that does not exist
  std::optional<std::int32_t> token_id(std::string_view token) const;
  std::size_t vocab_size() const noexcept;  // largest id + 1
  const SpecialIds& special_ids() const noexcept;
  // Tokens that are cut out of texts, by id.
  const std::map<std::int32_t, AddedToken>& added_tokens() const noexcept;
  std::size_t model_max_length() const noexcept;  // tokenizer_config.json; SIZE_MAX if it does not say
  const std::vector<std::string>& model_input_names()
      const noexcept;  // of tokenizer_config.json, else of the class; {"input_ids", "token_type_ids",
                       // "attention_mask"}
  // Whether models of this tokenizer are given token_type_ids (if they have a table for them).
  bool makes_token_type_ids() const noexcept;
  bool pad_left() const noexcept;  // tokenizer_config.json: padding_side == "left"; else of the class
  bool cleans_up_tokenization_spaces() const noexcept;  // what tokenizer_config.json says about decode()

 private:
  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace kvasir::text
