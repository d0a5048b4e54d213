#include "qa/words.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace kvasir::qa {
namespace {

// The text with the range in brackets goes in and comes out: "a c[a]t" -> "a [cat]".
std::string widen(std::string text) {
  const std::size_t begin = text.find('[');
  text.erase(begin, 1);
  const std::size_t end = text.find(']');
  text.erase(end, 1);
  const TextRange wide = widen_to_words(text, {begin, end});
  text.insert(wide.end, "]");
  text.insert(wide.begin, "[");
  return text;
}

TEST(Words, GrowsOverLettersDigitsAndMarks) {
  EXPECT_EQ(widen("a c[a]t sat"), "a [cat] sat");
  EXPECT_EQ(widen("a [cat] sat"), "a [cat] sat");
  EXPECT_EQ(widen("a c[at s]at."), "a [cat sat].");
  EXPECT_EQ(widen("[c]at"), "[cat]");
  EXPECT_EQ(widen("ca[t]"), "[cat]");
  EXPECT_EQ(widen("B[5]2s and xy"), "[B52s] and xy");
  EXPECT_EQ(widen("in snake[_]case here"), "in [snake_case] here");
  EXPECT_EQ(widen("(K[ö]ln)"), "([Köln])");
  EXPECT_EQ(widen("(Ko[\u0308l]n)"), "([Ko\u0308ln])");
  EXPECT_EQ(widen("Дн[і]про, Київ"), "[Дніпро], Київ");
  EXPECT_EQ(widen("서[울]특별시는"), "[서울특별시는]");
  EXPECT_EQ(widen("हि[न]्दी में"), "[हिन्दी] में");
}

TEST(Words, LeavesOtherCharactersAlone) {
  EXPECT_EQ(widen("see [(]cat)"), "see [(]cat)");
  EXPECT_EQ(widen("the cat [.] Then"), "the cat [.] Then");
  EXPECT_EQ(widen("5[0] % of"), "[50] % of");
  EXPECT_EQ(widen("wel[l]-known"), "[well]-known");
  EXPECT_EQ(widen("1939-[1]945"), "1939-[1945]");
  EXPECT_EQ(widen("at 10:[3]0"), "at 10:[30]");
  EXPECT_EQ(widen("end[]."), "end[].");
}

TEST(Words, Apostrophes) {
  EXPECT_EQ(widen("I do[n]'t"), "I [don't]");
  EXPECT_EQ(widen("I don't kn[o]w"), "I don't [know]");
  EXPECT_EQ(widen("I don'[t] know"), "I [don't] know");
  EXPECT_EQ(widen("Mr O'Br[i]en"), "Mr [O'Brien]");
  EXPECT_EQ(widen("Mr O’Br[i]en"), "Mr [O’Brien]");
  EXPECT_EQ(widen("of [Lund]'s treaty"), "of [Lund]'s treaty");
  EXPECT_EQ(widen("of [Lund]’s treaty"), "of [Lund]’s treaty");
  EXPECT_EQ(widen("of Lund'[s treaty]"), "of [Lund's treaty]");
  EXPECT_EQ(widen("of Lund['s] treaty"), "of [Lund's] treaty");
  EXPECT_EQ(widen("the [students]' union"), "the [students]' union");
  EXPECT_EQ(widen("he said '[cat]'"), "he said '[cat]'");
}

TEST(Words, Numbers) {
  EXPECT_EQ(widen("is 3[.]14 and"), "is [3.14] and");
  EXPECT_EQ(widen("is [3].14, and"), "is [3.14], and");
  EXPECT_EQ(widen("1,[0]00,000."), "[1,000,000].");
  EXPECT_EQ(widen("in 18[6]8. 12"), "in [1868]. 12");
  EXPECT_EQ(widen("a,[b] U.S."), "a,[b] U.S.");
}

TEST(Words, Abbreviations) {
  EXPECT_EQ(widen("the U.[S]. law"), "the [U.S.] law");
  EXPECT_EQ(widen("the [U].S. law"), "the [U.S.] law");
  EXPECT_EQ(widen("in 1145 [A.D]., when"), "in 1145 [A.D.], when");
  EXPECT_EQ(widen("by [U.S.A] and"), "by [U.S.A] and");
  EXPECT_EQ(widen("by J[.]R.R. Tolkien"), "by [J.R.R.] Tolkien");
  EXPECT_EQ(widen("by [J]. Smith"), "by [J]. Smith");
  EXPECT_EQ(widen("plan [B]. Then"), "plan [B]. Then");
  EXPECT_EQ(widen("H.G.[Wells]."), "H.G.[Wells].");
  EXPECT_EQ(widen("It was [him]."), "It was [him].");
  EXPECT_EQ(widen("a,[b], c"), "a,[b], c");
}

TEST(Words, NeverGrowsInScriptsWithoutSpaces) {
  EXPECT_EQ(widen("東[京]都"), "東[京]都");
  EXPECT_EQ(widen("[東京]タワー"), "[東京]タワー");
  EXPECT_EQ(widen("昭和19[2]6年に"), "昭和[1926]年に");
  EXPECT_EQ(widen("ABC[D]社"), "[ABCD]社");
  EXPECT_EQ(widen("กรุงเ[ท]พ"), "กรุงเ[ท]พ");
  EXPECT_EQ(widen("พ.ศ. ๒๕[๖]๓"), "พ.ศ. [๒๕๖๓]");
  // A combining mark stays with its letter, a stacked consonant with its stack.
  EXPECT_EQ(widen("[ก]ี่ด"), "[กี่]ด");
  EXPECT_EQ(widen("ខ[្ម]ែរ"), "[ខ្មែ]រ");
  EXPECT_EQ(widen("ခြ[င်္ဂ]"), "ခြ[င်္ဂ]");
}

TEST(Words, InvisibleCharacters) {
  EXPECT_EQ(widen("in\u00ADvi[s]i\u00ADble"), "[in\u00ADvisi\u00ADble]");
  EXPECT_EQ(widen("می\u200C[خ]واهم"), "[می\u200Cخواهم]");
  EXPECT_EQ(widen("[👨]\u200D👩\u200D👧!"), "[👨\u200D👩\u200D👧]!");
  EXPECT_EQ(widen("[👍]🏽 ok"), "[👍🏽] ok");
  EXPECT_EQ(widen("a \u200D[b]"), "a [\u200Db]");
}

TEST(Words, GivesUpOnEndlessWords) {
  const std::string half(150, 'x');
  EXPECT_EQ(widen(half + "[y]" + half), half + "[y]" + half);
  EXPECT_EQ(widen("a[y]" + half), "[ay]" + half);
}

// On any text: edges move outwards only, to boundaries of code points, never past each other's order, and
// once.
TEST(Words, EdgesAreMonotone) {
  const std::vector<std::string> alphabet{
      "a", "B",  "s",  "1", " ",      ".",      ",",      "'",      "’", "-",    "_",      "\n",     "\u0301",
      "é", "京", "カ", "ก", "\u0E35", "\u17D2", "\u1780", "\u200D", "👩", "🏽", "\u00AD", "\u3000", "٣"};
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    std::vector<std::size_t> boundaries{0};
    for (std::size_t i = 0; i < 12; ++i) {
      text += alphabet[random() % alphabet.size()];
      boundaries.push_back(text.size());
    }
    std::size_t last_begin = 0, last_end = 0;
    for (const std::size_t at : boundaries) {
      const std::size_t begin = widen_begin(text, at), end = widen_end(text, at);
      ASSERT_LE(begin, at) << text;
      ASSERT_GE(end, at) << text;
      ASSERT_GE(begin, last_begin) << text;
      ASSERT_GE(end, last_end) << text;
      ASSERT_TRUE(std::binary_search(boundaries.begin(), boundaries.end(), begin)) << text;
      ASSERT_TRUE(std::binary_search(boundaries.begin(), boundaries.end(), end)) << text;
      ASSERT_EQ(widen_begin(text, begin), begin) << text;
      ASSERT_EQ(widen_end(text, end), end) << text;
      last_begin = begin;
      last_end = end;
    }
  }
}

TEST(Words, Trims) {
  EXPECT_EQ(trim_space(" a b\n", {0, 5}), (TextRange{1, 4}));
  EXPECT_EQ(trim_space("\u3000a\u00A0", {0, 6}), (TextRange{3, 4}));
  const TextRange empty = trim_space("a  b", {1, 3});
  EXPECT_EQ(empty.begin, empty.end);
}

}  // namespace
}  // namespace kvasir::qa
