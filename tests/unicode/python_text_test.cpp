#include "unicode/python_text.h"

#include <gtest/gtest.h>

namespace kvasir::unicode {
namespace {

TEST(PythonText, LowersLikePython) {
  EXPECT_EQ(to_lower("HeLLo 123 [É] ÀÇŁ"), "hello 123 [é] àçł");
  EXPECT_EQ(to_lower("İI"), "i\u0307i");
  EXPECT_EQ(to_lower("ẞß ǅ Ⅷ Ⓐ"), "ßß ǆ ⅷ ⓐ");
  EXPECT_EQ(to_lower("𐐀𞤀"), "𐐨𞤢");
  EXPECT_EQ(to_lower(""), "");
}

TEST(PythonText, LowersSigmaByItsNeighbors) {
  EXPECT_EQ(to_lower("Σ"), "σ");        // alone
  EXPECT_EQ(to_lower("ΑΣ"), "ας");      // final
  EXPECT_EQ(to_lower("ΑΣΑ"), "ασα");    // a letter follows
  EXPECT_EQ(to_lower("ΣΑ"), "σα");      // none before
  EXPECT_EQ(to_lower("ΑΣ Α"), "ας α");  // the space ends the word
  EXPECT_EQ(to_lower("Α'Σ"), "α'ς");    // an apostrophe is skipped
  EXPECT_EQ(to_lower("ΑΣ'Α"), "ασ'α");  // also behind
  EXPECT_EQ(to_lower("Α\u0301Σ\u0301"), "α\u0301ς\u0301");
  EXPECT_EQ(to_lower("1Σ"), "1σ");    // a digit is not cased
  EXPECT_EQ(to_lower("ⅠΣ"), "ⅰς");    // a Roman numeral is
  EXPECT_EQ(to_lower("中Σ"), "中σ");  // nor is a Han letter
}

TEST(PythonText, WordCharacters) {
  for (const char32_t c : {U'a', U'Z', U'0', U'_', U'é', U'中', U'٣', U'½', U'ⅷ', U'ª', U'ก'})
    EXPECT_TRUE(is_word_char(c)) << std::hex << static_cast<unsigned>(c);
  for (const char32_t c : {U' ', U'-', U'\'', U'\u0301', U'\u0E31', U'—', U'€', U'\u200D', U'。'})
    EXPECT_FALSE(is_word_char(c)) << std::hex << static_cast<unsigned>(c);
}

TEST(PythonText, Spaces) {
  for (const char32_t c :
       {U'\t', U'\n', U'\x0B', U'\f', U'\r', U'\x1C', U'\x1F', U' ', U'\u0085', U'\u00A0', U'\u1680',
        U'\u2000', U'\u200A', U'\u2028', U'\u2029', U'\u202F', U'\u205F', U'\u3000'})
    EXPECT_TRUE(is_space(c)) << std::hex << static_cast<unsigned>(c);
  for (const char32_t c : {U'\x1B', U'\u180E', U'\u200B', U'\uFEFF', U'a'})
    EXPECT_FALSE(is_space(c)) << std::hex << static_cast<unsigned>(c);
  EXPECT_EQ(strip_left(" \n\u3000x "), "x ");
  EXPECT_EQ(strip_left(" "), "");
  EXPECT_EQ(strip_right("x \u0085\x1F\u3000"), "x");
  EXPECT_EQ(strip_right("\u3000"), "");
  EXPECT_EQ(strip(" \u2003x\u200B\n"), "x\u200B");  // U+200B is no white space to Python
  EXPECT_EQ(strip(""), "");
}

}  // namespace
}  // namespace kvasir::unicode
