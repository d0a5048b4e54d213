// Patterns that split a text or are replaced in it: strings or regular expressions.
//
// Regular expressions are Oniguruma's, as in the reference. Those of published tokenizers are matched by code
// in this library, which the tests compare with Oniguruma.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/normalized_text.h"

namespace kvasir::text {

// A part of a text that matches a pattern, or lies between two matches.
struct Part {
  Piece piece;
  bool match;
};

class Pattern {
 public:
  virtual ~Pattern() = default;
  // Appends the parts of text[piece.begin, piece.end). The pattern sees nothing outside that piece. A match
  // may be empty. Throws kResourceExhausted if a regular expression takes too long.
  virtual void find(std::string_view text, Piece piece, std::vector<Part>& parts) const = 0;
  // Whether matching "…x y…" (x, y ASCII letters or digits) gives the same as matching "…x" and " y…", so
  // that a long text can be processed in slices. With `cuts`, a part also ends between the two.
  virtual bool is_local() const noexcept { return false; }
  virtual bool cuts() const noexcept { return false; }
  // Whether it compares single bytes, and depends only on some below 0x80 other than the space.
  virtual bool is_bytewise() const noexcept { return false; }
};

// {"String": …} or {"Regex": …}. Throws kFormat (also for a regular expression that is wrong).
std::unique_ptr<Pattern> make_pattern(const base::JsonObject& json);

// A regular expression for Oniguruma, even if this library has code of its own for it. `origin` names it in
// errors.
std::unique_ptr<Pattern> make_regex(const std::string& expression, const std::string& origin);

// The end of the first word of text[at, end), as GPT-2's expression splits it. Precondition: at < end.
std::size_t end_of_gpt2_word(std::string_view text, std::size_t at, std::size_t end) noexcept;
// The same for BLOOM's expression, whose words are its matches and the parts between them.
std::size_t end_of_bloom_word(std::string_view text, std::size_t at, std::size_t end) noexcept;

inline constexpr std::string_view kGpt2Expression =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
inline constexpr std::string_view kBloomExpression = " ?[^(\\s|[.,!?…。，、।۔،])]+";

}  // namespace kvasir::text
