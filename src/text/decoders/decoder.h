// Decoders: the part of tokenizer.json that makes a text of tokens again.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace kvasir::text {

// Takes tokens in one after the other, and gives what has become of them to the next one as soon as nothing
// that follows can change it. A token may come in pieces.
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
  // What becomes of the tokens, which is again a list of them; the text is that list joined.
  virtual std::vector<std::string> decode_chain(std::vector<std::string> tokens) const = 0;
  std::string decode(std::vector<std::string> tokens) const;

  // A token in the middle of a text: what it adds, which may be bytes of a character that has only begun.
  struct MiddleToken {
    std::string bytes;
    bool fused = false;  // it is part of one token by now, whose ends are elsewhere
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
