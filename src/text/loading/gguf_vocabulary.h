// Tokenizers of GGUF files, whose vocabulary is in the metadata (tokenizer.ggml.*). They are built of the
// same parts as those of tokenizer.json, so they give the same tokens and offsets.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "text/parts.h"

namespace kvasir::text {

// The metadata as stored, to be filled in by the caller. Needed during the call only.
struct GgufVocabulary {
  enum Type : std::int32_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6
  };

  std::string_view model;  // "llama": SentencePiece's BPE; "gpt2": byte-level BPE; "bert": WordPiece
  std::string_view pre;    // how byte-level BPE splits words: "falcon", "smollm", …; "": "default"
  std::span<const std::string_view> tokens;
  std::span<const float> scores;             // of "llama": one for each token
  std::span<const std::int32_t> types;       // one for each token; empty: all are normal
  std::span<const std::string_view> merges;  // of "gpt2": "left right"
  std::optional<std::int32_t> bos, eos, unk, sep, pad, cls, mask;
  std::optional<bool> add_bos, add_eos;  // unset: llama.cpp's default for the kind of model
  bool add_space_prefix = true;          // of "llama"
};

// Control tokens are special and found in texts, as in transformers; user-defined ones are found, but not
// special. Throws kFormat for lists that do not fit together, tokens that are not UTF-8, ids that do not
// exist; kUnsupported, naming it, for another model or an unknown pre-tokeniser.
TokenizerParts make_gguf_parts(const GgufVocabulary& vocabulary, const std::string& origin);

// The tokenizer.ggml.pre of a byte-level tokenizer.json, determined by its "pre_tokenizer" and these fields;
// nullopt: there is no known name for it.
struct ByteLevelKind {
  const base::json::value& pre_tokenizer;
  bool nfc = false;            // the normaliser is NFC
  bool ignore_merges = false;  // of the model
};
std::optional<std::string_view> gguf_pre_tokenizer(const ByteLevelKind& kind);

}  // namespace kvasir::text
