// Whether a text holds what a sentence says.
#include "qa/support.h"

#include <gtest/gtest.h>

namespace kvasir::qa {
namespace {

const char kText[] =
    "The treaty was signed in Lund in 1676, after four years of war between Sweden and Denmark.";

TEST(CompareWords, CountsWordsOfContent) {
  EXPECT_EQ(compare_words("It was signed in Lund.", kText).words, 1);
  EXPECT_EQ(compare_words("Denmark and Sweden signed treaties.", kText).words,
            1);  // by their beginnings
  EXPECT_EQ(compare_words("The king fled.", kText).words, 0);
  EXPECT_EQ(compare_words("The king signed.", kText).words, 0.5);
  EXPECT_EQ(compare_words("It was.", kText).words, 0);
  EXPECT_EQ(compare_words("", kText).words, 0);
}

TEST(CompareWords, NumbersMustAllBeThere) {
  EXPECT_TRUE(compare_words("Signed in 1676.", kText).numbers);
  EXPECT_FALSE(compare_words("Signed in 1677.", kText).numbers);
  EXPECT_FALSE(compare_words("Signed in 676.", kText).numbers);
  EXPECT_TRUE(compare_words("Signed in Lund.", kText).numbers);
}

TEST(CompareWords, WhateverTheCase) {
  EXPECT_EQ(compare_words("SIGNED IN LUND", kText).words, 1);
  EXPECT_EQ(compare_words("ÅRHUS", "nach århus gefahren").words, 1);
}

}  // namespace
}  // namespace kvasir::qa
