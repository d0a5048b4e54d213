// Patterns with code of our own, compared with Oniguruma; and the limits of those without.
#include "text/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "unicode/tables.h"

namespace kvasir::tests {
namespace {

using namespace text;

std::vector<std::string> parts_of(const Pattern& pattern, const std::string& text) {
  std::vector<Part> parts;
  pattern.find(text, {0, text.size()}, parts);
  std::vector<std::string> result;
  for (const auto& [piece, match] : parts) {
    result.push_back((match ? "+" : "-") + text.substr(piece.begin, piece.end - piece.begin));
  }
  return result;
}

std::unique_ptr<Pattern> own(const std::string& expression) {
  const base::json::value json{{"Regex", expression}};
  return make_pattern(base::JsonObject(json, "test"));
}

// Debian's Oniguruma knows fewer characters than the reference's, from whose behaviour our tables were made.
// Those that it takes for unassigned are left out of the comparison.
bool both_know(char32_t c) {
  static const auto assigned = make_regex("\\p{Assigned}", "test");
  std::string text;
  base::append_utf8(text, c);
  std::vector<Part> parts;
  assigned->find(text, {0, text.size()}, parts);
  return parts.front().match;
}

TEST(Pattern, OwnCodeFindsWhatOnigurumaFinds) {
  const std::vector<std::string> expressions{std::string(kGpt2Expression), std::string(kBloomExpression),
                                             " {2,}", "[0-9][0-9][0-9]"};
  constexpr std::u32string_view kTelling =
      U"  "
      U"\t\n\r\u00A0\u3000\u2028aZ\u00E9\u4E2D\u0301\u093F19\u0663\u00BD\u2167.,!?'\u2019()|_-$"
      U"\u20AC\u2026\u3002"
      U"\uFF0C\u3001\u0964\u06D4\u060C\U0001F600strevmlld";
  std::mt19937 random(7);
  for (const std::string& expression : expressions) {
    const auto ours = own(expression), theirs = make_regex(expression, "test");
    for (int i = 0; i < 3000; ++i) {
      std::string text;
      for (std::size_t length = random() % 24; length > 0; --length) {
        base::append_utf8(text, kTelling[random() % kTelling.size()]);
      }
      ASSERT_EQ(parts_of(*ours, text), parts_of(*theirs, text)) << expression << ": \"" << text << '"';
    }
  }
}

TEST(Pattern, OwnTablesAreOnigurumas) {
  for (const std::string& expression : {std::string(kGpt2Expression), std::string(kBloomExpression)}) {
    const auto ours = own(expression), theirs = make_regex(expression, "test");
    std::size_t compared = 0;
    for (char32_t c = 1; c < 0x20000; ++c) {
      if ((c >= 0xD800 && c <= 0xDFFF) || !both_know(c)) continue;
      std::string text = "a";
      base::append_utf8(text, c);
      text += "1";
      base::append_utf8(text, c);
      ASSERT_EQ(parts_of(*ours, text), parts_of(*theirs, text))
          << expression << ": U+" << std::hex << static_cast<unsigned>(c);
      ++compared;
    }
    EXPECT_GT(compared, 60'000u);
  }
}

TEST(Pattern, EmptyMatchesAreTheReferences) {
  EXPECT_THAT(parts_of(*own("x*"), "axb"), testing::ElementsAre("+", "-a", "+x", "-b", "+"));
  EXPECT_THAT(parts_of(*own("(?=b)"), "abb"), testing::ElementsAre("-a", "+", "-b", "+", "-b"));
  EXPECT_THAT(parts_of(*own("a"), ""), testing::ElementsAre());
}

TEST(Pattern, ExpressionThatTakesTooLong) {
  const auto hostile = own("(?:a|a)*(?![ab])");
  try {
    parts_of(*hostile, std::string(60, 'a') + 'b');
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
    EXPECT_THAT(error.what(), testing::StartsWith("test: Regex: the regular expression takes too long"));
  }
}

}  // namespace
}  // namespace kvasir::tests
