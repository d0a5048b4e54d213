// Patterns: what a text is split at, or what is replaced in it: a string or a regular expression.
//
// Regular expressions are Oniguruma's, as in the reference. Those that published tokenizers have are matched
// by code of our own, which the tests compare with Oniguruma.
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
  // Appends the parts that text[piece.begin, piece.end) falls into. The pattern sees nothing beside that
  // piece. A match may be empty. Throws kResourceExhausted if a regular expression takes too long.
  virtual void find(std::string_view text, Piece piece, std::vector<Part>& parts) const = 0;
  // Whether matching "…x y…" (x, y ASCII letters or digits) gives what matching "…x" and " y…" gives: so that
  // a long text can be split in slices. With `cuts`, it also ends a part between the two.
  virtual bool is_local() const noexcept { return false; }
  virtual bool cuts() const noexcept { return false; }
  // Whether it looks at bytes, of which only some below 0x80 other than space matter.
  virtual bool is_bytewise() const noexcept { return false; }
};

// {"String": …} or {"Regex": …}. Throws kFormat (also for a regular expression that is wrong).
std::unique_ptr<Pattern> make_pattern(const base::JsonObject& json);

// A regular expression for Oniguruma, even if there is code of our own for it. `origin` names it in errors.
std::unique_ptr<Pattern> make_regex(const std::string& expression, const std::string& origin);

// The first word of text[at, end) as GPT-2's expression splits it: where it ends. Precondition: at < end.
std::size_t end_of_gpt2_word(std::string_view text, std::size_t at, std::size_t end) noexcept;
// The same for BLOOM's expression, of whose matches and what lies between them.
std::size_t end_of_bloom_word(std::string_view text, std::size_t at, std::size_t end) noexcept;

inline constexpr std::string_view kGpt2Expression =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
inline constexpr std::string_view kBloomExpression = " ?[^(\\s|[.,!?…。，、।۔،])]+";

}  // namespace kvasir::text
