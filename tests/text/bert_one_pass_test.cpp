// BERT in one pass against the parts that it stands for, one after the other.
#include "text/one_pass/bert_one_pass.h"

#include <gtest/gtest.h>

#include "base/mapped_file.h"
#include "random_text.h"
#include "text/loading/tokenizer_json.h"
#include "text/pipeline.h"
#include "token_case.h"

namespace kvasir::tests {
namespace {

using namespace text;

TokenizerParts load_parts() {
  return load_tokenizer_json(test_data("tokenizers/bert-base-uncased-real/tokenizer.json"));
}

TokenizedText by_parts(const TokenizerParts& parts, std::string_view text, Piece piece) {
  TokenizedText out;
  TokenSink sink(out, text);
  tokenize_by_parts(parts, text, piece, sink);
  return out;
}

TokenizedText in_one_pass(const BertOnePass& one_pass, std::string_view text, Piece piece) {
  TokenizedText out;
  TokenSink sink(out, text);
  one_pass.tokenize(text, piece, sink);
  return out;
}

void expect_same_tokens(const TokenizedText& got, const TokenizedText& expected) {
  EXPECT_EQ(got.ids, expected.ids);
  EXPECT_EQ(got.word_ids, expected.word_ids);
  EXPECT_TRUE(got.offsets == expected.offsets);
}

TEST(BertOnePass, EqualsPartsOnRandomTexts) {
  TokenizerParts parts = load_parts();
  const auto& model = dynamic_cast<const WordPiece&>(*parts.model);
  RandomText texts(20240711);
  std::size_t tokens = 0;
  for (unsigned setting = 0; setting < 24; ++setting) {
    BertNormalizerOptions options;
    options.clean_text = setting % 2 == 0;
    options.handle_chinese_chars = setting / 2 % 2 == 0;
    options.lowercase = setting / 4 % 2 == 0;
    if (setting / 8 > 0) options.strip_accents = setting / 8 == 1;
    parts.normalizer = std::make_unique<BertNormalizer>(options);
    const BertOnePass one_pass(options, model);
    for (int i = 0; i < 150; ++i) {
      const std::string text = texts.next();
      SCOPED_TRACE("setting " + std::to_string(setting) + ": " +
                   base::json::serialize(base::json::value(text)));
      const Piece whole{0, text.size()};
      const TokenizedText expected = by_parts(parts, text, whole);
      expect_same_tokens(in_one_pass(one_pass, text, whole), expected);
      tokens += expected.size();
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(tokens, 30'000u);
}

// A piece is tokenised as if it stood alone, but for its spans.
TEST(BertOnePass, TokenizesPartsOfATextWithSpansOfTheWhole) {
  const TokenizerParts parts = load_parts();
  const BertOnePass one_pass({}, dynamic_cast<const WordPiece&>(*parts.model));
  const std::string text = "h\u00E9llo w\u00F6rld";
  const Piece piece{3, text.size() - 2};  // "llo w\u00F6r"
  const TokenizedText tokens = in_one_pass(one_pass, text, piece);
  expect_same_tokens(tokens, by_parts(parts, text, piece));
  ASSERT_FALSE(tokens.offsets.empty());
  EXPECT_EQ(tokens.offsets.front().begin, 3u);
  EXPECT_EQ(tokens.offsets.back().end, text.size() - 2);
}

TEST(BertOnePass, CountsTheLongestWordInCodePoints) {
  const TokenizerParts parts = load_parts();
  const auto& model = dynamic_cast<const WordPiece&>(*parts.model);
  const BertOnePass one_pass({}, model);
  for (const std::string unit : {"a", "\u03B1"}) {
    for (const std::size_t count : {63, 64, 65, 99, 100, 101, 5000}) {
      SCOPED_TRACE(unit + " times " + std::to_string(count));
      std::string text = "x ";
      for (std::size_t i = 0; i < count; ++i) text += unit;
      const Piece whole{0, text.size()};
      const TokenizedText tokens = in_one_pass(one_pass, text, whole);
      expect_same_tokens(tokens, by_parts(parts, text, whole));
      EXPECT_EQ(tokens.ids[1] == model.unk_id(), count > 100);
      EXPECT_EQ(tokens.offsets.back().end, text.size());
    }
  }
}

// 16 bytes for each token, and no more than a tenth of that unused, whatever the text is like.
TEST(BertOnePass, LeavesLittleMemoryUnused) {
  const TokenizerParts parts = load_parts();
  const BertOnePass one_pass({}, dynamic_cast<const WordPiece&>(*parts.model));
  const std::string english = base::read_file(test_data("squad/dev-v2.0-half.json"));
  std::string dense;
  for (int i = 0; i < 300'000; ++i) dense += ".!";
  for (const std::string& text : {english, dense}) {
    const TokenizedText tokens = in_one_pass(one_pass, text, {0, text.size()});
    EXPECT_LE(tokens.ids.capacity(), std::max(text.size() / 4, tokens.size() * 11 / 10) + 100);
    EXPECT_EQ(tokens.ids.capacity(), tokens.offsets.capacity());
    EXPECT_EQ(tokens.ids.capacity(), tokens.word_ids.capacity());
  }
}

}  // namespace
}  // namespace kvasir::tests
