// The parts of a tokenizer, as in tokenizer.json.
#pragma once

#include <memory>
#include <optional>

#include "text/added_tokens.h"
#include "text/decoders/decoder.h"
#include "text/models/model.h"
#include "text/normalizers/normalizer.h"
#include "text/post_processors/post_processor.h"
#include "text/pre_tokenizers/pre_tokenizer.h"

namespace kvasir::text {

struct TokenizerParts {
  std::unique_ptr<Normalizer> normalizer;       // may be null
  std::unique_ptr<PreTokenizer> pre_tokenizer;  // may be null
  std::unique_ptr<Model> model;
  PostProcessor post_processor;
  std::unique_ptr<Decoder> decoder;
  AddedTokens added_tokens;
  std::optional<bool> pad_left;  // direction of "padding", if the file has it; the rest of "padding" and
                                 // "truncation" are ignored
};

}  // namespace kvasir::text
