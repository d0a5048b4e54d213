// The sentence around a place in a text, for showing an answer where it was found. Rules of thumb for plain
// text in Latin, Cyrillic, Greek and CJK scripts; no model and no tables of languages.
#pragma once

#include <cstddef>
#include <string_view>

namespace kvasir::text {

struct SentenceSpan {
  std::size_t begin = 0, end = 0;  // bytes, on code point boundaries, white space at the edges left out
  bool cut_begin = false;          // the sentence begins before `begin`, beyond the limit
  bool cut_end = false;            // … or goes on after `end`
};

// The sentence, or the run of sentences, that holds bytes [begin, end) of text. A sentence ends at . ! ? …
// (and their CJK forms) before white space and something that can begin a sentence; not after an abbreviation
// ("Dr.", "e.g.", "J. S. Bach"); and always at an empty line, a list item or a paragraph separator. At most
// max_context bytes are taken on either side, so the cost does not depend on the length of the text.
// Precondition: well-formed UTF-8, begin <= end <= text.size(), both on code point boundaries.
struct SentenceOptions {
  std::size_t max_context = 400;  // about four lines of a terminal on either side
};
SentenceSpan sentence_around(std::string_view text, std::size_t begin, std::size_t end,
                             const SentenceOptions& options = {});

// Number of the line, from 1, that byte `at` stands on. Lines end with \n, \r\n or a lone \r.
std::size_t line_of(std::string_view text, std::size_t at) noexcept;

}  // namespace kvasir::text
