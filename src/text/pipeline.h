// The parts of a tokenizer.json, one after the other, as the file says: the way for every combination of
// parts that has no faster one.
#pragma once

#include <string_view>

#include "text/token_sink.h"
#include "text/tokenizer_json.h"

namespace kvasir::text {

// Tokenises text[piece.begin, piece.end), which holds no added token that is sought in the raw text. Spans
// count from the beginning of text. Memory: about 20 times the piece.
void tokenize_by_parts(const TokenizerParts& parts, std::string_view text, Piece piece, TokenSink& sink);

}  // namespace kvasir::text
