#include "text/sentences.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace kvasir::text {
namespace {

// The sentence around the first place where `answer` stands in `text`.
std::string around(std::string_view text, std::string_view answer, const SentenceOptions& options = {}) {
  const std::size_t at = text.find(answer);
  EXPECT_NE(at, std::string_view::npos) << answer;
  const SentenceSpan span = sentence_around(text, at, at + answer.size(), options);
  EXPECT_LE(span.begin, at);
  EXPECT_GE(span.end, at + answer.size());
  return std::string(text.substr(span.begin, span.end - span.begin));
}

TEST(Sentences, TakesTheSentenceAndNoMore) {
  const std::string text = "First one. The treaty was signed in Lund! Was it? Yes.";
  EXPECT_EQ(around(text, "First"), "First one.");
  EXPECT_EQ(around(text, "Lund"), "The treaty was signed in Lund!");
  EXPECT_EQ(around(text, "Was"), "Was it?");
  EXPECT_EQ(around(text, "Yes"), "Yes.");
  EXPECT_EQ(around(text, "one. The"), "First one. The treaty was signed in Lund!");
}

TEST(Sentences, AbbreviationsInitialsAndNumbersDoNotEndIt) {
  const std::string text =
      "Before. Dr. J. S. Bach of the U.S. Navy paid 3.5 million, e.g. Mr. Smith Jr. and Inc. No. 5 did. "
      "After.";
  EXPECT_EQ(around(text, "million"),
            "Dr. J. S. Bach of the U.S. Navy paid 3.5 million, e.g. Mr. Smith Jr. and Inc. No. 5 did.");
  EXPECT_EQ(around("He said no. Then he left.", "he left"), "Then he left.");
  EXPECT_EQ(around("See fig. 3 for more. Next.", "3"), "See fig. 3 for more.");
  EXPECT_EQ(around("So did I. You too.", "You"), "You too.");
}

TEST(Sentences, QuotesAndBracketsBelongToTheirSentence) {
  EXPECT_EQ(around("She said: \"Go.\" He went. End.", "Go"), "She said: \"Go.\"");
  EXPECT_EQ(around("\u201cGo.\u201d He went.", "went"), "He went.");
  EXPECT_EQ(around("(It rained.) He went.", "went"), "He went.");
  EXPECT_EQ(around("What?! No way... Really.", "Really"), "Really.");
}

TEST(Sentences, EmptyLinesAndListItemsEndIt) {
  EXPECT_EQ(around("A heading\n\nThe text\nof two lines. More.", "two"), "The text\nof two lines.");
  EXPECT_EQ(around("A heading\r\n \r\nThe text.", "text"), "The text.");
  EXPECT_EQ(around("Items:\n- one thing\n- another thing\n", "one"), "- one thing");
  EXPECT_EQ(around("Items:\n1. one thing\n2. another thing\n", "another"), "2. another thing");
  EXPECT_EQ(around("One line\r\nsame sentence\r\n", "same"), "One line\r\nsame sentence");
}

TEST(Sentences, CjkNeedsNoSpace) {
  EXPECT_EQ(around("\u6771\u4eac\u3067\u3059\u3002\u5927\u962a\u3067\u3059\u3002", "\u5927\u962a"),
            "\u5927\u962a\u3067\u3059\u3002");
}

TEST(Sentences, LongTextsAreCutAtSpacesAndSaySo) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "word\u00e9" + std::to_string(i) + " ";
  const std::size_t at = text.find("\u00e9500") - 4;
  const SentenceSpan span = sentence_around(text, at, at + 9, {.max_context = 50});
  EXPECT_TRUE(span.cut_begin);
  EXPECT_TRUE(span.cut_end);
  EXPECT_GE(span.begin + 50, at);
  EXPECT_LE(span.end, at + 9 + 50);
  EXPECT_EQ(text.substr(span.begin, 4), "word");
  EXPECT_EQ(text[span.begin - 1], ' ');
  EXPECT_EQ(text[span.end], ' ');

  const std::string no_space(5000, 'x');
  const SentenceSpan middle = sentence_around(no_space, 2500, 2501, {.max_context = 50});
  EXPECT_EQ(middle.begin, 2450U);
  EXPECT_EQ(middle.end, 2551U);
}

TEST(Sentences, EdgesOfTheText) {
  EXPECT_EQ(around("x", "x"), "x");
  const SentenceSpan empty = sentence_around("", 0, 0);
  EXPECT_EQ(empty.begin, 0U);
  EXPECT_EQ(empty.end, 0U);
  EXPECT_EQ(around("  spaced out  ", "out"), "spaced out");
  // Whatever place is asked for lies inside the sentence, also one that is white space only.
  const std::string text = " \n\n A. \n\n\u00a0 B \u2029";
  for (std::size_t begin = 0; begin <= text.size(); ++begin) {
    if (begin < text.size() && (text[begin] & 0xC0) == 0x80) continue;
    const SentenceSpan span = sentence_around(text, begin, begin);
    EXPECT_LE(span.begin, begin);
    EXPECT_GE(span.end, begin);
  }
}

TEST(Sentences, LineNumbers) {
  const std::string text = "one\ntwo\r\nthree\rfour\n";
  EXPECT_EQ(line_of(text, 0), 1U);
  EXPECT_EQ(line_of(text, 3), 1U);
  EXPECT_EQ(line_of(text, text.find("two")), 2U);
  EXPECT_EQ(line_of(text, text.find("three")), 3U);
  EXPECT_EQ(line_of(text, text.find("four")), 4U);
  EXPECT_EQ(line_of(text, text.size()), 5U);
}

}  // namespace
}  // namespace kvasir::text
