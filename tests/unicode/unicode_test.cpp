// The pinned tables and the normalisation forms over them.
#include <gtest/gtest.h>

#include "base/utf8.h"
#include "unicode/normalization.h"
#include "unicode/tables.h"

namespace kvasir::tests {
namespace {

using unicode::Form;

std::string utf8(std::u32string_view code_points) {
  std::string text;
  for (const char32_t c : code_points) base::append_utf8(text, c);
  return text;
}

std::u32string normalized(std::u32string_view text, Form form) {
  std::u32string result;
  for (const unicode::Change& change : unicode::normalize(utf8(text), form)) result += change.code_point;
  return result;
}

template <class Visit>
void for_each_code_point(Visit visit) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c < 0xD800 || c > 0xDFFF) visit(c);
  }
}

TEST(Unicode, TablesArePinned) {
  // U+08D4 became a mark in Unicode 9.0: the categories (8.0) do not know it, normalisation (9.0) does.
  EXPECT_EQ(unicode::properties(0x8D4).flags & unicode::kNonspacingMark, 0);
  EXPECT_EQ(unicode::properties(0x8D4).combining_class, 230);
  // U+09FE came with Unicode 11.0.
  EXPECT_EQ(unicode::properties(0x9FE).combining_class, 0);
  // Georgian capitals (Unicode 11.0) have lower case: that is the library's, which is newer.
  EXPECT_EQ(0x1C90 + unicode::properties(0x1C90).lower_delta, 0x10D0);
  // 2B820 to 2B91F are ideographs, but the reference's list begins at 2B920.
  EXPECT_EQ(unicode::properties(0x2B900).flags & unicode::kChinese, 0);
  EXPECT_NE(unicode::properties(0x2B920).flags & unicode::kChinese, 0);
  // A symbol is no punctuation outside of ASCII.
  EXPECT_NE(unicode::properties('$').flags & unicode::kPunctuation, 0);
  EXPECT_EQ(unicode::properties(0x20AC).flags & unicode::kPunctuation, 0);
}

TEST(Unicode, FormsAgreeWithEachOtherOnEveryCodePoint) {
  for_each_code_point([](char32_t c) {
    const std::u32string self(1, c);
    const std::u32string d = normalized(self, Form::kNfd), composed = normalized(self, Form::kNfc);
    const std::u32string kd = normalized(self, Form::kNfkd), kc = normalized(self, Form::kNfkc);
    ASSERT_EQ(normalized(d, Form::kNfd), d) << std::hex << static_cast<std::uint32_t>(c);
    ASSERT_EQ(normalized(d, Form::kNfc), composed) << std::hex << static_cast<std::uint32_t>(c);
    ASSERT_EQ(normalized(composed, Form::kNfd), d) << std::hex << static_cast<std::uint32_t>(c);
    ASSERT_EQ(normalized(kd, Form::kNfkd), kd) << std::hex << static_cast<std::uint32_t>(c);
    ASSERT_EQ(normalized(kd, Form::kNfkc), kc) << std::hex << static_cast<std::uint32_t>(c);
    ASSERT_EQ(normalized(d, Form::kNfkd), kd) << std::hex << static_cast<std::uint32_t>(c);
  });
}

TEST(Unicode, Forms) {
  EXPECT_EQ(normalized(U"\u1EC7", Form::kNfd), U"e\u0323\u0302");
  EXPECT_EQ(normalized(U"\u00EA\u0323", Form::kNfd), U"e\u0323\u0302");  // canonical order
  EXPECT_EQ(normalized(U"e\u0302\u0323", Form::kNfc), U"\u1EC7");
  EXPECT_EQ(normalized(U"e\u0301\u0302", Form::kNfc),
            U"\u00E9\u0302");  // the second is blocked by none, but has no composite
  EXPECT_EQ(normalized(U"\uD55C\uAE00", Form::kNfd), U"\u1112\u1161\u11AB\u1100\u1173\u11AF");
  EXPECT_EQ(normalized(U"\u1112\u1161\u11AB", Form::kNfc), U"\uD55C");
  EXPECT_EQ(normalized(U"\u0958", Form::kNfc), U"\u0915\u093C");  // excluded from composition
  EXPECT_EQ(normalized(U"\uFB01\u0301", Form::kNfkc), U"f\u00ED");
  EXPECT_EQ(normalized(U"\u1E9B", Form::kNfd), U"\u017F\u0307");
  EXPECT_EQ(normalized(U"\u1E9B", Form::kNfkd), U"s\u0307");
}

// Every code point of the text is consumed exactly once, or whoever applies the changes would read past its
// end.
TEST(Unicode, ChangesConsumeTheWholeText) {
  const std::u32string text =
      U"e\u0302\u0323\uFB01\u0301\uD55C\u1112\u1161\u11AB\u0344\u0323\u0915\u093C\u1E9B\u0323";
  for (const Form form : {Form::kNfd, Form::kNfc, Form::kNfkd, Form::kNfkc}) {
    std::int64_t consumed = 0;
    for (const unicode::Change& change : unicode::normalize(utf8(text), form)) {
      if (change.change <= 0) consumed += 1 - change.change;
    }
    EXPECT_EQ(consumed, static_cast<std::int64_t>(text.size()));
  }
}

}  // namespace
}  // namespace kvasir::tests
