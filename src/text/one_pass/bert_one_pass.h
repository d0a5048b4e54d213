// BertNormalizer, BertPreTokenizer and WordPiece in one pass over the text, without a normalised copy of it.
//
// What comes out is what the three parts give one after the other (a test compares them); what it takes is
// memory for the longest word. ASCII words are read once: the loop that finds their end also folds their case
// and hashes them. All other text goes through a BertWordBuilder, code point by code point.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "text/models/wordpiece.h"
#include "text/normalizers/normalizer.h"
#include "text/one_pass/bert_word_builder.h"
#include "text/token_sink.h"

namespace kvasir::text {

class BertOnePass {
 public:
  // model must outlive this.
  BertOnePass(const BertNormalizerOptions& options, const WordPiece& model);

  // Tokenises text[piece.begin, piece.end); spans count from the beginning of text.
  void tokenize(std::string_view text, Piece piece, TokenSink& sink) const;

 private:
  // What an ASCII character is to a word. Bytes from 0x80 are kNotAscii.
  enum class Kind : std::uint8_t { kLetter, kSpace, kPunctuation, kDeleted, kNotAscii };
  // Longest word of the ASCII loop. English has none that is longer; those that are go the other way.
  static constexpr std::size_t kMaxAsciiWord = 64;

  BertNormalizerOptions options_;
  const WordPiece& model_;
  std::size_t max_ascii_word_;
  std::array<Kind, 256> kinds_;
  std::array<std::uint8_t, 128> folded_;       // what a letter becomes
  std::array<std::int32_t, 128> punctuation_;  // tokens of punctuation
};

}  // namespace kvasir::text
