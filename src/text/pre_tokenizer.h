// Pre-tokenisers: the part of tokenizer.json that splits a normalised text into words.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/normalized_text.h"

namespace kvasir::text {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Appends the words of text[piece.begin, piece.end) in order; none of them is empty, and only that part of
  // the text is looked at.
  virtual void split(std::string_view text, Piece piece, std::vector<Piece>& words) const = 0;
  // Whether this is BertPreTokenizer, which BertScanner does in one pass with the normaliser.
  virtual bool is_bert() const noexcept { return false; }
};

// Reads the "pre_tokenizer" of a tokenizer.json: BertPreTokenizer, CharDelimiterSplit, Digits, Punctuation,
// Sequence, Whitespace, WhitespaceSplit. Null gives nullptr: the text is one word. Throws kFormat,
// kUnsupported (another type).
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const base::json::value& value, const std::string& origin);

}  // namespace kvasir::text
