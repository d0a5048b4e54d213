#include "text/sentences.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "base/utf8.h"

namespace kvasir::text {

namespace {

bool is_space(char32_t c) noexcept {
  return c == ' ' || (c >= '\t' && c <= '\r') || c == 0x85 || c == 0xA0 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x3000;
}

// Ends a sentence if white space follows.
bool is_terminator(char32_t c) noexcept {
  return c == '.' || c == '!' || c == '?' || c == 0x2026;
}

// Ends a sentence wherever it stands: 。！？．
bool is_cjk_terminator(char32_t c) noexcept {
  return c == 0x3002 || c == 0xFF01 || c == 0xFF1F || c == 0xFF0E;
}

// Quotes and brackets that may stand between the terminator and the space: “He left.”
bool is_closer(char32_t c) noexcept {
  return c == '"' || c == '\'' || c == ')' || c == ']' || c == 0x2019 || c == 0x201D || c == 0xBB ||
         c == 0x300D || c == 0x300F || c == 0xFF09;
}

bool is_ascii_letter(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// The next sentence does not begin with a small letter; only ASCII ones are looked at ("iPhone" loses, "e.g.
// this" wins).
bool can_begin_sentence(char32_t c) noexcept {
  return !(c >= 'a' && c <= 'z');
}

// Words whose full stop does not end a sentence. Lower case, without the stop.
constexpr auto kAbbreviations = std::to_array<std::string_view>(
    {"adj",  "al",  "approx", "apr", "art", "aug", "ave", "bros", "ca",  "capt", "cf",  "chap", "co",
     "col",  "dec", "dept",   "dr",  "ed",  "eds", "eq",  "esp",  "feb", "fig",  "gen", "gov",  "inc",
     "jan",  "jr",  "lt",     "ltd", "mr",  "mrs", "ms",  "mt",   "no",  "nov",  "oct", "p",    "pp",
     "prof", "rep", "rev",    "sen", "sep", "sgt", "sr",  "st",   "vol", "vs"});
static_assert(std::is_sorted(kAbbreviations.begin(), kAbbreviations.end()));

// Abbreviations that a number follows, and that are ordinary words otherwise: "no. 5", but "He said no. Then
// …".
bool needs_number(std::string_view word) noexcept {
  return word == "no" || word == "p" || word == "pp" || word == "art" || word == "fig" || word == "eq" ||
         word == "ed" || word == "col";
}

// Is the full stop at text[at] that of an abbreviation or an initial? `next` is the first character after the
// space.
bool is_abbreviation(std::string_view text, std::size_t at, char32_t next) {
  std::size_t begin = at;
  while (begin > 0 && is_ascii_letter(text[begin - 1])) --begin;
  const std::string_view word = text.substr(begin, at - begin);
  if (word.empty()) return false;
  const bool dotted = begin > 0 && text[begin - 1] == '.';  // the last letter of "e.g" or "U.S"
  if (word.size() == 1 && (dotted || (word[0] >= 'A' && word[0] <= 'Z'))) return dotted || word[0] != 'I';
  if (word.size() > 6) return false;
  std::string lower(word);
  for (char& c : lower) c = static_cast<char>(c | 0x20);
  if (!std::binary_search(kAbbreviations.begin(), kAbbreviations.end(), lower)) return false;
  return !needs_number(lower) || (next >= '0' && next <= '9');
}

// "- ", "* ", "• " or "12. " at the beginning of a line.
bool is_list_item(std::string_view text, std::size_t at) noexcept {
  const std::string_view rest = text.substr(at, 8);
  if (rest.starts_with("- ") || rest.starts_with("* ") || rest.starts_with("\u2022") ||
      rest.starts_with("# ") || rest.starts_with("## ")) {
    return true;
  }
  std::size_t digits = 0;
  while (digits < rest.size() && digits < 3 && rest[digits] >= '0' && rest[digits] <= '9') ++digits;
  return digits > 0 && digits + 1 < rest.size() && (rest[digits] == '.' || rest[digits] == ')') &&
         rest[digits + 1] == ' ';
}

struct Blank {
  std::size_t end = 0;     // where the white space ends
  bool paragraph = false;  // it holds an empty line or a paragraph separator, or a list item follows
};

Blank skip_blank(std::string_view text, std::size_t at) {
  Blank blank;
  int lines = 0;
  bool separator = false;
  while (at < text.size()) {
    const base::CodePoint c = base::decode_utf8(text, at);
    if (!is_space(c.value)) break;
    const bool crlf = c.value == '\r' && at + 1 < text.size() && text[at + 1] == '\n';
    if ((c.value == '\n' || c.value == '\r') && !crlf) ++lines;
    if (c.value == 0x2029 || c.value == '\f') separator = true;
    at += c.length;
  }
  blank.end = at;
  blank.paragraph = separator || lines >= 2 || (lines == 1 && is_list_item(text, at));
  return blank;
}

// The places in text where one sentence ends and the next one begins: {end, begin of the next} pairs.
struct Boundary {
  std::size_t end, next;
};

// Where a sentence ends that has its terminator at text[at]: after further terminators and closing quotes.
std::size_t after_terminator(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const base::CodePoint c = base::decode_utf8(text, at);
    if (!is_terminator(c.value) && !is_cjk_terminator(c.value) && !is_closer(c.value)) break;
    at += c.length;
  }
  return at;
}

std::vector<Boundary> boundaries(std::string_view text) {
  std::vector<Boundary> found;
  std::size_t at = 0;
  while (at < text.size()) {
    const base::CodePoint c = base::decode_utf8(text, at);
    if (is_space(c.value)) {
      const Blank blank = skip_blank(text, at);
      if (blank.paragraph) found.push_back({at, blank.end});
      at = blank.end;
      continue;
    }
    if (!is_terminator(c.value) && !is_cjk_terminator(c.value)) {
      at += c.length;
      continue;
    }
    const std::size_t end = after_terminator(text, at);
    const Blank blank = skip_blank(text, end);
    const bool at_end = blank.end == text.size();
    const char32_t next = at_end ? U' ' : base::decode_utf8(text, blank.end).value;
    const bool spaced = is_terminator(c.value) && blank.end > end && can_begin_sentence(next) &&
                        !(c.value == '.' && end == at + 1 && is_abbreviation(text, at, next));
    if (!at_end && (spaced || blank.paragraph || is_cjk_terminator(c.value)))
      found.push_back({end, blank.end});
    at = blank.end;
  }
  return found;
}

// Moves `at` to the next boundary of a code point, forwards.
std::size_t align(std::string_view text, std::size_t at) noexcept {
  while (at < text.size() && (static_cast<std::uint8_t>(text[at]) & 0xC0) == 0x80) ++at;
  return at;
}

}  // namespace

SentenceSpan sentence_around(std::string_view text, std::size_t begin, std::size_t end,
                             const SentenceOptions& options) {
  const std::size_t low = align(text, begin > options.max_context ? begin - options.max_context : 0);
  const std::size_t high =
      text.size() - end > options.max_context ? align(text, end + options.max_context) : text.size();

  SentenceSpan span{low, high, low > 0, high < text.size()};
  for (const Boundary& boundary : boundaries(text.substr(low, high - low))) {
    if (low + boundary.next <= begin) {
      span.begin = low + boundary.next;
      span.cut_begin = false;
    } else if (low + boundary.end >= end) {
      span.end = low + boundary.end;
      span.cut_end = false;
      break;
    }
  }
  // A cut goes to a space, so that no half word is shown.
  if (span.cut_begin) {
    std::size_t at = span.begin;
    while (at < begin && text[at] != ' ' && text[at] != '\n') ++at;
    if (at < begin) span.begin = at;
  }
  if (span.cut_end) {
    std::size_t at = span.end;
    while (at > end && text[at - 1] != ' ' && text[at - 1] != '\n') --at;
    if (at > end) span.end = at;
  }
  while (span.begin < begin) {
    const base::CodePoint c = base::decode_utf8(text, span.begin);
    if (!is_space(c.value)) break;
    span.begin += c.length;
  }
  while (span.end > end &&
         (text[span.end - 1] == ' ' || (text[span.end - 1] >= '\t' && text[span.end - 1] <= '\r'))) {
    --span.end;
  }
  return span;
}

std::size_t line_of(std::string_view text, std::size_t at) noexcept {
  std::size_t line = 1;
  for (std::size_t i = 0; i < at; ++i) {
    const bool lone_return = text[i] == '\r' && !(i + 1 < text.size() && text[i + 1] == '\n');
    line += text[i] == '\n' || lone_return ? 1 : 0;
  }
  return line;
}

}  // namespace kvasir::text
