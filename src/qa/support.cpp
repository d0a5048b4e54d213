#include "qa/support.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "unicode/python_text.h"

namespace kvasir::qa {

namespace {

// Longer words count by their beginning: English endings ("-ing", "-ed", "-s") say little about what is
// meant.
constexpr std::size_t kStem = 5;

constexpr std::string_view kEmptyWords[] = {
    "a",    "about", "after", "all",   "also",  "an",   "and",  "are",   "as",   "at",   "be",
    "been", "but",   "by",    "can",   "did",   "do",   "does", "for",   "from", "had",  "has",
    "have", "he",    "her",   "his",   "how",   "i",    "if",   "in",    "into", "is",   "it",
    "its",  "more",  "not",   "of",    "on",    "or",   "she",  "so",    "some", "than", "that",
    "the",  "their", "them",  "then",  "there", "they", "this", "to",    "was",  "we",   "were",
    "what", "when",  "where", "which", "who",   "will", "with", "would", "you"};

bool is_word_byte(unsigned char c) {
  return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
}

bool is_number(std::string_view word) {
  return word.find_first_of("0123456789") != std::string_view::npos;
}

std::set<std::string> words_of(std::string_view text) {
  const std::string lower = unicode::to_lower(text);
  std::set<std::string> words;
  for (std::size_t begin = 0; begin < lower.size();) {
    if (!is_word_byte(static_cast<unsigned char>(lower[begin]))) {
      ++begin;
      continue;
    }
    std::size_t end = begin;
    while (end < lower.size() && is_word_byte(static_cast<unsigned char>(lower[end]))) ++end;
    std::string word = lower.substr(begin, end - begin);
    begin = end;
    if (std::ranges::find(kEmptyWords, word) != std::end(kEmptyWords)) continue;
    const bool is_ascii =
        std::ranges::all_of(word, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
    if (is_ascii && !is_number(word) && word.size() > kStem) word.resize(kStem);
    words.insert(std::move(word));
  }
  return words;
}

}  // namespace

Support compare_words(std::string_view sentence, std::string_view text) {
  const std::set<std::string> said = words_of(sentence), known = words_of(text);
  Support support;
  std::size_t found = 0;
  for (const std::string& word : said) {
    const bool is_known = known.contains(word);
    found += is_known ? 1 : 0;
    if (!is_known && is_number(word)) support.numbers = false;
  }
  support.words = said.empty() ? 0 : static_cast<double>(found) / static_cast<double>(said.size());
  return support;
}

}  // namespace kvasir::qa
