// The Unicode normalisation forms, by the reference's tables (Unicode 9.0).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace kvasir::unicode {

// All forms leave ASCII as it is.
bool has_only_ascii(std::string_view text) noexcept;

// Whether a quick check shows that a text is in NFC; most are.
bool is_plain_nfc(std::string_view text) noexcept;

enum class Form { kNfd, kNfkd, kNfc, kNfkc };

// One code point of a transformed text, and its relation to the text before the change.
struct Change {
  char32_t code_point;
  // 0: takes the place of the next code point; -n: as 0, and the n code points after that are deleted;
  // > 0: inserted.
  std::int32_t change;
};

// The changes by which a well-formed text is normalised.
//
// Reordered marks keep the order of the spans: the reference assigns the changes after sorting, so the n-th
// mark of a sorted run has the span of the n-th mark of the text.
std::vector<Change> normalize(std::string_view text, Form form);

inline constexpr char32_t kHangulBase = 0xAC00;
inline constexpr std::uint32_t kHangulCount = 11172;
inline bool is_hangul_syllable(char32_t c) noexcept {
  return c - kHangulBase < kHangulCount;
}

// A Hangul syllable's two or three jamo (The Unicode Standard 9.0, section 3.12).
struct Jamo {
  char32_t parts[3];
  std::size_t count;
};
Jamo decompose_hangul(char32_t syllable) noexcept;

}  // namespace kvasir::unicode
