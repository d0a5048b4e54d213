// Decoders: the part of tokenizer.json that makes a text of tokens again.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace kvasir::text {

class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual std::string decode(const std::vector<std::string_view>& tokens) const = 0;
};

// Reads the "decoder" of a tokenizer.json: WordPiece; null joins the tokens by spaces. Throws kFormat,
// kUnsupported (another type).
std::unique_ptr<Decoder> make_decoder(const base::json::value& value, const std::string& origin);

// Removes spaces before punctuation and in English contractions, as `clean_up_tokenization_spaces` of
// transformers does.
std::string clean_up_spaces(std::string text);

}  // namespace kvasir::text
