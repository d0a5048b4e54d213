// What the reference tokenizer knows about each code point. The data (tables.cpp) is generated and
// pinned: see scripts/generate-unicode-tables for the versions of Unicode.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kvasir::unicode {

// Bits of Properties::flags, in the order of the generator.
enum : std::uint16_t {
  kOther = 1 << 0,           // deleted by BERT's cleaning: U+0000, U+FFFD, Cc, Cf, Co except \t \n \r
  kWhiteSpace = 1 << 1,      // property White_Space
  kNonspacingMark = 1 << 2,  // Mn, what BERT strips as accent
  kPunctuation = 1 << 3,     // ASCII 33-47, 58-64, 91-96, 123-126, or category P*
  kChinese = 1 << 4,         // set apart by BERT's handle_chinese_chars
  kMark = 1 << 5,            // M*, what the normaliser StripAccents strips
  kWord = 1 << 6,            // \w of the reference's regular expressions
  kNumeric = 1 << 7,         // Nd, Nl, No
  kLowerExpands = 1 << 8,    // U+0130, whose lower case is two code points: i U+0307
  kLetter = 1 << 9,          // \p{L} of Oniguruma
  kNumber = 1 << 10,         // \p{N} of Oniguruma
  kSpace = 1 << 11,          // \s of Oniguruma
};

struct Properties {
  std::uint16_t flags;
  std::uint8_t combining_class;
  std::int32_t lower_delta;  // lower case - code point
};

struct Composition {
  char32_t first, second, composed;
};

namespace tables {
// Three stages: the group of 4096 code points, its blocks of 128, their values. Equal parts are stored once.
inline constexpr int kBlockBits = 7, kGroupBits = 5;
extern const std::uint8_t kPropertyGroups[], kPropertyBlocks[], kPropertyValues[];
extern const std::uint8_t kDecompositionGroups[], kDecompositionBlocks[];
extern const std::uint16_t kDecompositionValues[];
extern const Properties kRecords[];
// Entry: length of the canonical decomposition | length of the compatibility one << 8, then both. A length of
// 0 means that there is none (compatibility falls back to canonical).
extern const char32_t kDecompositionPool[];
extern const Composition kCompositions[];  // sorted by (first, second)
extern const std::size_t kCompositionCount;

template <class T>
T lookup(const std::uint8_t* groups, const std::uint8_t* blocks, const T* values, char32_t c) noexcept {
  constexpr char32_t kInBlock = (1 << kBlockBits) - 1, kInGroup = (1 << kGroupBits) - 1;
  const std::size_t block =
      blocks[static_cast<std::size_t>(groups[c >> (kBlockBits + kGroupBits)]) << kGroupBits |
             (c >> kBlockBits & kInGroup)];
  return values[block << kBlockBits | (c & kInBlock)];
}
}  // namespace tables

// Precondition of all: c <= 0x10FFFF.
inline const Properties& properties(char32_t c) noexcept {
  return tables::kRecords[tables::lookup(tables::kPropertyGroups, tables::kPropertyBlocks,
                                         tables::kPropertyValues, c)];
}
inline bool is_white_space(char32_t c) noexcept {
  return (properties(c).flags & kWhiteSpace) != 0;
}

// Full decompositions as in the tables; empty if c decomposes to itself. Hangul syllables are not included.
inline std::u32string_view canonical_decomposition(char32_t c) noexcept {
  const char32_t* entry =
      tables::kDecompositionPool + tables::lookup(tables::kDecompositionGroups, tables::kDecompositionBlocks,
                                                  tables::kDecompositionValues, c);
  return {entry + 1, *entry & 0xFF};
}
inline std::u32string_view compatibility_decomposition(char32_t c) noexcept {
  const char32_t* entry =
      tables::kDecompositionPool + tables::lookup(tables::kDecompositionGroups, tables::kDecompositionBlocks,
                                                  tables::kDecompositionValues, c);
  const std::size_t canonical = *entry & 0xFF, compatible = *entry >> 8;
  return compatible == 0 ? std::u32string_view(entry + 1, canonical)
                         : std::u32string_view(entry + 1 + canonical, compatible);
}

// The primary composite of two code points, or 0. Hangul is not in the table.
inline char32_t composite(char32_t first, char32_t second) noexcept {
  const Composition* end = tables::kCompositions + tables::kCompositionCount;
  const Composition* found =
      std::lower_bound(tables::kCompositions, end, Composition{first, second, 0},
                       [](const Composition& a, const Composition& b) {
                         return a.first != b.first ? a.first < b.first : a.second < b.second;
                       });
  return found != end && found->first == first && found->second == second ? found->composed : 0;
}

}  // namespace kvasir::unicode
