// Decoders: the part of tokenizer.json that turns tokens back into text.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace kvasir::text {

// Takes tokens one by one, and passes its output to the next stage as soon as nothing that follows can change
// it. A token may arrive in pieces.
class TokenStage {
 public:
  virtual ~TokenStage() = default;
  virtual void push(std::string_view piece, bool ends_token) = 0;
  virtual void finish() = 0;  // no more tokens
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  // The same as decode_chain() token by token, before `next`. The decoder must outlive it.
  virtual std::unique_ptr<TokenStage> stage(std::unique_ptr<TokenStage> next) const = 0;
  // The decoded tokens, again as a list; the text is that list joined.
  virtual std::vector<std::string> decode_chain(std::vector<std::string> tokens) const = 0;
  std::string decode(std::vector<std::string> tokens) const;

  // What a token in the middle of a text adds, which may be the first bytes of a character.
  struct MiddleToken {
    std::string bytes;
    bool fused = false;  // it has been fused with other tokens, so it is not at the ends of a token
  };
  virtual void decode_middle(MiddleToken& token) const = 0;
};

// Reads the "decoder" of a tokenizer.json: BPEDecoder, ByteFallback, ByteLevel, CTC, Fuse, Metaspace,
// Replace, Sequence, Strip, WordPiece; null joins the tokens by spaces. Throws kFormat, kUnsupported (another
// type).
std::unique_ptr<Decoder> make_decoder(const base::json::value& value, const std::string& origin);

// Removes spaces before punctuation and in English contractions, as `clean_up_tokenization_spaces` of
// transformers does.
std::string clean_up_spaces(std::string text);
// … of a text that comes in pieces.
std::unique_ptr<TokenStage> make_clean_up_stage(std::unique_ptr<TokenStage> next);

}  // namespace kvasir::text
