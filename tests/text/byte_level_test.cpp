// Byte-level tokenizers: what takes another way for speed gives what the parts give one after the other.
#include "text/byte_level.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/utf8.h"
#include "text/loading/tokenizer_json.h"
#include "text/pipeline.h"
#include "token_case.h"

namespace kvasir::tests {
namespace {

using namespace text;

TokenizedText by(const TokenizerParts& parts, const PipelineTraits& traits, const std::string& text) {
  TokenizedText out;
  TokenSink sink(out, text);
  tokenize_by_slices(parts, traits, text, {0, text.size()}, sink);
  return out;
}

// Text of many kinds, mostly words, some longer than the slices.
std::string random_text(std::mt19937& random) {
  constexpr const char* kPieces[] = {
      "the", " of",    " and",       " ",           "  ",      "\n",      " 1234",         "12",
      "'s",  "'ll",    ", ",         ". ",          "\u00E9t", "e\u0301", " \u4E2D\u6587", "\u2014",
      "(",   ")",      " <s>",       "<mask>",      "\t",      "x",       "\u00B2",        " A",
      "Q7",  "\u3000", "\U0001F600", "\u1112\u1161"};
  const std::size_t count = random() % 50 == 0 ? 3000 : random() % 40;
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += kPieces[random() % std::size(kPieces)];
  return text;
}

TEST(ByteLevel, SlicesAndOnePassGiveWhatThePartsGive) {
  for (const std::string name :
       {"encoders-qa/roberta", "encoders-qa/modernbert", "tokenizers/falcon", "tokenizers/mpt",
        "tokenizers/bloom", "encoders-qa/albert", "encoders-qa/xlm-roberta", "encoders-qa/deberta-v2",
        "tokenizers/llama", "tokenizers/llama-nonlegacy"}) {
    const TokenizerParts parts = load_tokenizer_json(test_data(name) / "tokenizer.json");
    const PipelineTraits traits = find_traits(parts);
    EXPECT_TRUE(traits.is_sliceable) << name;
    const auto* bpe = dynamic_cast<const Bpe*>(parts.model.get());
    EXPECT_EQ(traits.one_pass.has_value(), bpe != nullptr && bpe->is_byte_level()) << name;
    std::mt19937 random(11);
    for (int i = 0; i < 400; ++i) {
      // A control character that SentencePiece's map deletes at the beginning moves all spans after it.
      const std::string text = (random() % 8 == 0 ? " \u0016" : "") + random_text(random);
      const TokenizedText expected = by(parts, {}, text), got = by(parts, traits, text);
      ASSERT_EQ(got.ids, expected.ids) << name << ": " << text;
      ASSERT_TRUE(got.offsets == expected.offsets) << name << ": " << text;
      ASSERT_EQ(got.word_ids, expected.word_ids) << name << ": " << text;
    }
  }
}

TEST(ByteLevel, CharactersOfBytes) {
  std::string all;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto b = static_cast<std::uint8_t>(byte);
    EXPECT_EQ(byte_level::byte_of(byte_level::code_point(b)), static_cast<int>(byte));
    all += byte_level::character(b);
  }
  EXPECT_EQ(byte_level::character(' '), "\u0120");
  EXPECT_EQ(byte_level::character('a'), "a");
  EXPECT_EQ(byte_level::character(173), "\u0143");
  EXPECT_EQ(byte_level::bytes_of(all)->size(), 256u);
  EXPECT_EQ(byte_level::bytes_of("a b"), std::nullopt);
  EXPECT_EQ(byte_level::bytes_of("\u4E2D"), std::nullopt);
}

// Merges of more characters than are compared each with each.
TEST(Bpe, LongWords) {
  const TokenizerParts parts = load_tokenizer_json(test_data("encoders-qa/roberta") / "tokenizer.json");
  const auto& model = dynamic_cast<const Bpe&>(*parts.model);
  std::mt19937 random(3);
  for (int i = 0; i < 200; ++i) {
    // A word without any merge at the seams of its parts is tokenised as those are.
    std::string word;
    std::vector<std::int32_t> expected;
    while (word.size() < 300) {
      std::string part;
      for (std::size_t length = 1 + random() % 12; length > 0; --length) part += "theandigrs"[random() % 10];
      part += "\x01";
      std::vector<WordToken> tokens;
      model.tokenize_bytes(part, tokens);
      for (const WordToken& token : tokens) expected.push_back(token.id);
      word += part;
    }
    std::vector<WordToken> tokens;
    model.tokenize_bytes(word, tokens);
    std::vector<std::int32_t> got;
    std::uint32_t end = 0;
    for (const WordToken& token : tokens) {
      got.push_back(token.id);
      ASSERT_EQ(token.begin, end);
      end = token.end;
    }
    ASSERT_EQ(end, word.size());
    ASSERT_EQ(got, expected) << word;
  }
}

}  // namespace
}  // namespace kvasir::tests
