// A text during normalisation: its current form, and which bytes of the original each of its bytes came from.
//
// Alignments follow the reference (NormalizedString of tokenizers 0.22): a code point that replaces others
// has the span of the first of them; an inserted one copies the span of the code point before it; deleted
// text is in no span.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/encoding.h"
#include "unicode/normalization.h"

namespace kvasir::text {

class Pattern;

// A half-open range of bytes of a text, original or normalised.
struct Piece {
  std::size_t begin = 0, end = 0;
};

using unicode::Change;

class NormalizedText {
 public:
  // A fragment of a text may be normalised slice by slice if the result is the same. Operations on the ends
  // of a fragment then have to know which slices contain them.
  struct Ends {
    bool first = true, last = true;
  };
  // original must be well-formed UTF-8; it begins at byte `shift` of the text that spans are to refer to.
  NormalizedText(std::string_view original, std::size_t shift) : NormalizedText(original, shift, Ends{}) {}
  NormalizedText(std::string_view original, std::size_t shift, Ends ends);
  // A part of another text, or (without a piece) an empty one, to be built by append().
  NormalizedText(const NormalizedText& from, Piece piece);
  static NormalizedText empty_like(const NormalizedText& from) { return {from, Piece{}}; }

  const std::string& text() const noexcept { return text_; }
  Ends ends() const noexcept { return ends_; }
  // Span of bytes [begin, end) of text(), begin < end: from the start of the first byte's origin to the end
  // of the last one's.
  ByteSpan origin(std::size_t begin, std::size_t end) const noexcept {
    return {origins_[begin].begin, origins_[end - 1].end};
  }

  ByteSpan origin_of_byte(std::size_t at) const noexcept { return origins_[at]; }

  // Appends `text`, all of which comes from `origin`.
  void append(std::string_view text, ByteSpan origin) {
    text_.append(text);
    origins_.resize(text_.size(), origin);
  }
  void append(const NormalizedText& from, Piece piece);

  // Replaces the text by `changes`, whose zero and negative changes consume all code points of the text after
  // the first `deleted`.
  void transform(std::span<const Change> changes, std::size_t deleted = 0);

  void filter(const std::function<bool(char32_t)>& keep);
  void map(const std::function<char32_t(char32_t)>& to);
  void lowercase_ascii();  // precondition: text() is ASCII
  // `deleted` code points fall away at the beginning and at the end.
  void strip(bool left, bool right);
  // Puts the string before a text that is not empty, with the span of the text's first code point.
  void prepend(std::string_view prefix);
  // Replaces every match from the left. Throws kResourceExhausted if the text becomes too large: each of a
  // list of replacements can double it.
  void replace(const Pattern& pattern, std::string_view by);

 private:
  std::size_t shift_;
  Ends ends_;
  std::size_t max_size_;
  std::string text_;
  std::vector<ByteSpan> origins_;  // of each byte of text_
};

// The code points of a text.
std::vector<char32_t> code_points(std::string_view text);

}  // namespace kvasir::text
