// BertNormalizer, BertPreTokenizer and WordPiece in one pass over the text, without a normalised copy of it.
//
// The output is that of the three parts one after the other (a test compares them); memory is needed only for
// the longest word. ASCII words are read once: the loop that finds their end also folds their case and hashes
// them. All other text goes through a BertWordBuilder, code point by code point.
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
  // The role of an ASCII character in a word. Bytes from 0x80 are kNotAscii.
  enum class Kind : std::uint8_t { kLetter, kSpace, kPunctuation, kDeleted, kNotAscii };
  // Longest word of the ASCII loop. English has none that is longer; longer ones go through BertWordBuilder.
  static constexpr std::size_t kMaxAsciiWord = 64;

  BertNormalizerOptions options_;
  const WordPiece& model_;
  std::size_t max_ascii_word_;
  std::array<Kind, 256> kinds_;
  std::array<std::uint8_t, 128> folded_;       // what a letter becomes
  std::array<std::int32_t, 128> punctuation_;  // tokens of punctuation
};

}  // namespace kvasir::text
