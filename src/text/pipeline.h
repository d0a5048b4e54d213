// The parts of a tokenizer.json, one after the other, as the file says: the way for every combination of
// parts that has no faster one.
#pragma once

#include <optional>
#include <string_view>

#include "text/one_pass/byte_level_one_pass.h"
#include "text/parts.h"
#include "text/token_sink.h"

namespace kvasir::text {

// What of the parts is worth knowing before a text comes.
struct PipelineTraits {
  // A long text may be tokenised in slices that begin at the space of "x y" (x, y ASCII letters or digits).
  bool is_sliceable = false;
  // Slices of a text then are parts of one word, not words.
  bool is_one_word = false;
  std::optional<ByteLevelOnePass> one_pass;  // if it can do what the parts do to a text that stays as it is
};
PipelineTraits find_traits(const TokenizerParts& parts);

// Where the first slice of text[piece) ends: at the first place for that after so many bytes.
std::size_t end_of_slice(std::string_view text, Piece piece, std::size_t bytes) noexcept;

// Tokenises text[piece.begin, piece.end), which holds no added token that is sought in the raw text. Spans
// count from the beginning of text. Memory: about 30 times the piece.
void tokenize_by_parts(const TokenizerParts& parts, std::string_view text, Piece piece, TokenSink& sink);

// The same in slices, if the traits allow it, and in one pass where that can be. Memory: about 30 times
// the longest slice.
void tokenize_by_slices(const TokenizerParts& parts, const PipelineTraits& traits, std::string_view text,
                        Piece piece, TokenSink& sink);

}  // namespace kvasir::text
