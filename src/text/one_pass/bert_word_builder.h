// The words of a text by BERT's rules, code point by code point: cleaned, folded, split, cut into tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "text/models/wordpiece.h"
#include "text/normalizers/normalizer.h"
#include "text/token_sink.h"

namespace kvasir::text {

class BertWordBuilder {
 public:
  BertWordBuilder(const BertNormalizerOptions& options, const WordPiece& model, TokenSink& sink)
      : options_(options), strips_accents_(options.strips_accents()), model_(model), sink_(sink) {}

  // The next code point of the text and where it stands.
  void add(char32_t c, ByteSpan span);
  // Ends the current word. Precondition: the text ends here, or the last code point added separates words.
  void finish();

 private:
  // A mark that waits for its place in a run of marks: canonical order sorts runs by class.
  struct Mark {
    std::uint8_t combining_class;
    bool inserted;  // second or later part of a decomposed code point
    char32_t code_point;
    ByteSpan span;
  };

  void add_cleaned(char32_t c, ByteSpan span);
  void add_decomposed(char32_t c, bool first, ByteSpan span);
  void release_marks();
  void add_normalized(char32_t c, ByteSpan span);
  void append(char32_t c, ByteSpan span);
  void end_word();

  const BertNormalizerOptions& options_;
  bool strips_accents_;
  const WordPiece& model_;
  TokenSink& sink_;

  std::vector<Mark> marks_;
  ByteSpan starter_span_;  // of the last code point that was decomposed

  // The current word. Beyond max_chars() code points it becomes an unknown token in any case, so the rest is
  // not kept.
  std::string word_;
  std::vector<ByteSpan> spans_;  // of each byte of word_
  std::size_t chars_ = 0;
  ByteSpan extent_;
  std::vector<WordToken> tokens_;
};

}  // namespace kvasir::text
