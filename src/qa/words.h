// Where words begin and end in running text, for answers that should not cut a word in two.
#pragma once

#include <cstddef>
#include <string_view>

namespace kvasir::qa {

// Bytes [begin, end) of a text, on code point boundaries.
struct TextRange {
  std::size_t begin = 0, end = 0;
  friend bool operator==(const TextRange&, const TextRange&) = default;
};

// Widens a range to whole words:
//
//  - Letters, digits, marks and "_" of scripts that separate words by spaces stay together.
//  - Han, Kana, Bopomofo, Thai, Lao, Khmer, Myanmar, Tibetan and similar scripts have no such spaces: a range
//    is not widened across them, except that a combining mark stays with its base.
//  - An apostrophe between letters belongs to the word (don't, O'Brien), but an answer may end before an
//    English possessive: "Lund" of "Lund's" stays "Lund".
//  - "." and "," between digits belong to the number (3.14, 1,000); "." also belongs to single letters
//    (U.S., A.D.).
//  - A hyphen belongs to no word: each side of it is a word of its own.
//
// An edge stays where it was if the word does not end within 100 code points of it. An empty range stays
// empty.
TextRange widen_to_words(std::string_view text, TextRange range);

// One edge of widen_to_words(), which does not depend on the other: where the word that `begin` cuts in two
// begins; where the word that `end` cuts in two ends.
std::size_t widen_begin(std::string_view text, std::size_t begin);
std::size_t widen_end(std::string_view text, std::size_t end);

// The range without white space at both ends; empty (begin = end) if it holds nothing else.
TextRange trim_space(std::string_view text, TextRange range);

}  // namespace kvasir::qa
