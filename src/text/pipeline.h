// The parts of a tokenizer.json, one after the other, as the file says: for every combination of parts that
// has no faster implementation.
#pragma once

#include <optional>
#include <string_view>

#include "text/one_pass/byte_level_one_pass.h"
#include "text/parts.h"
#include "text/token_sink.h"

namespace kvasir::text {

// Properties of the parts that do not depend on the text.
struct PipelineTraits {
  // A long text may be tokenised in slices that begin at the space of "x y" (x, y ASCII letters or digits).
  bool is_sliceable = false;
  // Then slices of a text are parts of one word, not words.
  bool is_one_word = false;
  std::optional<ByteLevelOnePass>
      one_pass;  // if it can replace the parts for texts that normalisation leaves unchanged
};
PipelineTraits find_traits(const TokenizerParts& parts);

// The end of the first slice of text[piece): the first possible place after `bytes` bytes.
std::size_t end_of_slice(std::string_view text, Piece piece, std::size_t bytes) noexcept;

// Tokenises text[piece.begin, piece.end), which contains no added token that is searched for in the raw text.
// Spans count from the beginning of text. Memory: about 30 times the piece.
void tokenize_by_parts(const TokenizerParts& parts, std::string_view text, Piece piece, TokenSink& sink);

// The same in slices if the traits allow it, and in one pass where possible. Memory: about 30 times the
// longest slice.
void tokenize_by_slices(const TokenizerParts& parts, const PipelineTraits& traits, std::string_view text,
                        Piece piece, TokenSink& sink);

}  // namespace kvasir::text
