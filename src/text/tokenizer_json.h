// tokenizer.json: the parts of a tokenizer, as Hugging Face's tokenizers write them to one file.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "text/added_tokens.h"
#include "text/decoder.h"
#include "text/model.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"

namespace kvasir::text {

struct TokenizerParts {
  std::unique_ptr<Normalizer> normalizer;       // may be null
  std::unique_ptr<PreTokenizer> pre_tokenizer;  // may be null
  std::unique_ptr<Model> model;
  PostProcessor post_processor;
  std::unique_ptr<Decoder> decoder;
  AddedTokens added_tokens;
  std::optional<bool>
      pad_left;  // "padding", if the file has it; its "truncation" and the rest of it do not count
};

// Throws kNotFound, kIo, kFormat (naming file and key), kUnsupported (naming a type that is not there yet).
TokenizerParts load_tokenizer_json(const std::filesystem::path& path);

// The same from a text; `origin` names it in errors.
TokenizerParts parse_tokenizer_json(std::string_view text, const std::string& origin);

}  // namespace kvasir::text
