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
//  - letters, digits, marks and "_" of scripts that put spaces between words stay together;
//  - never across Han, Kana, Bopomofo, Thai, Lao, Khmer, Myanmar, Tibetan and the like, which put none: only
//  a
//    combining mark is not cut from its base;
//  - an apostrophe between letters belongs to the word (don't, O'Brien), but an answer may end before an
//  English
//    possessive: "Lund" of "Lund's" stays "Lund";
//  - "." and "," belong to a number between digits (3.14, 1,000), "." also to single letters (U.S., A.D.);
//  - a hyphen does not: both of its sides are words.
// An edge that finds no end of the word within 100 code points stays where it was. An empty range stays
// empty.
TextRange widen_to_words(std::string_view text, TextRange range);

// One edge of it, which does not depend on the other: where the word that `begin` (or `end`) cuts begins
// (ends).
std::size_t widen_begin(std::string_view text, std::size_t begin);
std::size_t widen_end(std::string_view text, std::size_t end);

// Without the white space at both ends; empty (begin = end) if there is nothing else.
TextRange trim_space(std::string_view text, TextRange range);

}  // namespace kvasir::qa
