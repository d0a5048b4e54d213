// Tokenizers of GGUF files, whose vocabulary lies in the metadata (tokenizer.ggml.*). They are built of the
// same parts as those of tokenizer.json, so that they give the same tokens, offsets included.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "text/parts.h"

namespace kvasir::text {

// The metadata as they are; whoever has the file fills this in. Needed during the call only.
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
  std::span<const std::int32_t> types;       // one for each token, or none: all are normal
  std::span<const std::string_view> merges;  // of "gpt2": "left right"
  std::optional<std::int32_t> bos, eos, unk, sep, pad, cls, mask;
  std::optional<bool> add_bos, add_eos;  // unset: as llama.cpp has it for the kind of model
  bool add_space_prefix = true;          // of "llama"
};

// Control tokens are special and found in texts, as in transformers; user-defined ones are found, but not
// special. Throws kFormat for lists that do not fit together, tokens that are no UTF-8, ids that do not
// exist; kUnsupported, naming it, for another model and for a pre-tokeniser that is not known.
TokenizerParts make_gguf_parts(const GgufVocabulary& vocabulary, const std::string& origin);

// The tokenizer.ggml.pre of a byte-level tokenizer.json, by its "pre_tokenizer" and what else decides;
// nullopt: llama.cpp has no name for it, or not one that is known here.
struct ByteLevelKind {
  const base::json::value& pre_tokenizer;
  bool nfc = false;            // the normaliser is NFC
  bool ignore_merges = false;  // of the model
};
std::optional<std::string_view> gguf_pre_tokenizer(const ByteLevelKind& kind);

}  // namespace kvasir::text
