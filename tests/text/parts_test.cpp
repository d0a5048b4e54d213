// The parts by themselves, on examples that one can check by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "small_tokenizer.h"
#include "text/decoders/decoder.h"
#include "text/normalizers/normalizer.h"
#include "text/pre_tokenizers/pre_tokenizer.h"
#include "text/vocabulary.h"

namespace kvasir::tests {
namespace {

using namespace text;
using base::json::object;
using testing::ElementsAre;

// "c[begin,end)" for each code point of a normalised text.
std::vector<std::string> aligned(const NormalizedText& text) {
  std::vector<std::string> result;
  for (std::size_t at = 0; at < text.text().size();) {
    const std::size_t next = at + base::decode_utf8(text.text(), at).length;
    const ByteSpan span = text.origin(at, next);
    result.push_back(text.text().substr(at, next - at) + std::to_string(span.begin) + "-" +
                     std::to_string(span.end));
    at = next;
  }
  return result;
}

std::vector<std::string> normalize(const object& json, std::string_view text) {
  NormalizedText normalized(text, 0);
  make_normalizer(json, "test")->normalize(normalized);
  return aligned(normalized);
}

const object kBert{{"type", "BertNormalizer"}};

TEST(Normalizer, SpansOfBert) {
  // A precomposed letter is covered whole, a mark after its letter is not.
  EXPECT_THAT(normalize(kBert, "\u00C9e\u0301x"), ElementsAre("e0-2", "e2-3", "x5-6"));
  // What is deleted joins its neighbours; white space becomes a space.
  EXPECT_THAT(normalize(kBert, "a\u00AD\fb\tc"), ElementsAre("a0-1", "b4-5", " 5-6", "c6-7"));
  // The spaces around an ideograph carry its span.
  EXPECT_THAT(normalize(kBert, "a\u4E2D"), ElementsAre("a0-1", " 1-4", "\u4E2D1-4", " 1-4"));
  // Lower case of two code points; the dot above is a mark, but comes after accents were stripped.
  const object keep_accents{{"type", "BertNormalizer"}, {"strip_accents", false}};
  EXPECT_THAT(normalize(keep_accents, "\u0130x"), ElementsAre("i0-2", "\u03070-2", "x2-3"));
  EXPECT_THAT(normalize(kBert, "\u0130\u03A3"), ElementsAre("i0-2", "\u03C32-4"));
  EXPECT_THAT(normalize(kBert, "\u200B\u0301"), ElementsAre());
  EXPECT_THAT(normalize(kBert, ""), ElementsAre());
}

TEST(Normalizer, SpansOfUnicodeForms) {
  // Sorted marks keep the order of the spans.
  EXPECT_THAT(normalize({{"type", "NFD"}}, "e\u0302\u0323"), ElementsAre("e0-1", "\u03231-3", "\u03023-5"));
  // What is inserted carries the span before it.
  EXPECT_THAT(normalize({{"type", "NFD"}}, "\u00EA\u0323x"),
              ElementsAre("e0-2", "\u03232-4", "\u03022-4", "x4-5"));
  // A composite carries the span of its first part alone.
  EXPECT_THAT(normalize({{"type", "NFC"}}, "e\u0301x"), ElementsAre("\u00E90-1", "x3-4"));
  EXPECT_THAT(normalize({{"type", "NFKD"}}, "\uFB01x"), ElementsAre("f0-3", "i0-3", "x3-4"));
}

TEST(Normalizer, SpansOfOthers) {
  EXPECT_THAT(normalize({{"type", "Strip"}}, " \u00A0a b "), ElementsAre("a3-4", " 4-5", "b5-6"));
  EXPECT_THAT(normalize({{"type", "Strip"}, {"strip_left", false}}, " a "), ElementsAre(" 0-1", "a1-2"));
  EXPECT_THAT(normalize({{"type", "Strip"}}, " \n "), ElementsAre());
  EXPECT_THAT(normalize({{"type", "Prepend"}, {"prepend", "_\u00E9"}}, "ab"),
              ElementsAre("_0-1", "\u00E90-1", "a0-1", "b1-2"));
  EXPECT_THAT(normalize({{"type", "Prepend"}, {"prepend", "_"}}, ""), ElementsAre());
  const object replace{{"type", "Replace"}, {"pattern", {{"String", "aa"}}}, {"content", "xyz"}};
  EXPECT_THAT(normalize(replace, "baaa"), ElementsAre("b0-1", "x2-3", "y2-3", "z2-3", "a3-4"));
  const object grow{{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(100, 'a')}};
  const object bomb{{"type", "Sequence"}, {"normalizers", base::json::array(20, grow)}};
  EXPECT_THROW(normalize(bomb, "a"), Error);
}

std::vector<std::string> split(const object& json, const std::string& text) {
  std::vector<Piece> pieces{{0, text.size()}};
  NormalizedText normalized(text, 0);
  make_pre_tokenizer(json, "test")->apply(normalized, pieces);
  std::vector<std::string> words;
  for (const Piece& piece : pieces) {
    words.push_back(normalized.text().substr(piece.begin, piece.end - piece.begin));
  }
  return words;
}

TEST(PreTokenizer, Splits) {
  EXPECT_THAT(split({{"type", "BertPreTokenizer"}}, " don't\u2014stop\u3000 $5 \u20AC5"),
              ElementsAre("don", "'", "t", "\u2014", "stop", "$", "5", "\u20AC5"));
  EXPECT_THAT(split({{"type", "Whitespace"}}, "a_b. ..c\u0301-d"),
              ElementsAre("a_b", ".", "..", "c\u0301", "-", "d"));
  EXPECT_THAT(split({{"type", "WhitespaceSplit"}}, " a  b. "), ElementsAre("a", "b."));
  const auto punctuation = [](const char* behavior) {
    return split({{"type", "Punctuation"}, {"behavior", behavior}}, "-a--b-");
  };
  EXPECT_THAT(punctuation("Removed"), ElementsAre("a", "b"));
  EXPECT_THAT(punctuation("Isolated"), ElementsAre("-", "a", "-", "-", "b", "-"));
  EXPECT_THAT(punctuation("Contiguous"), ElementsAre("-", "a", "--", "b", "-"));
  EXPECT_THAT(punctuation("MergedWithPrevious"), ElementsAre("-", "a-", "-", "b-"));
  EXPECT_THAT(punctuation("MergedWithNext"), ElementsAre("-a", "-", "-b", "-"));
  EXPECT_THAT(split({{"type", "Digits"}, {"individual_digits", true}}, "a12\u00BD"),
              ElementsAre("a", "1", "2", "\u00BD"));
  EXPECT_THAT(split({{"type", "Digits"}}, "a12b"), ElementsAre("a", "12", "b"));
}

TEST(WordPiece, LongestMatchFirst) {
  SmallTokenizer tokenizer;
  tokenizer.write();
  const auto loaded = tokenizer.load();
  EXPECT_THAT(token_texts(loaded, "rivers ees riverx"),
              ElementsAre("river", "##s", "e", "##e", "##s", "[UNK]"));
  const TokenizedText tokens = loaded.tokenize("Rivers, x");
  EXPECT_EQ(tokens.word_ids, (std::vector{0, 0, 1, 2}));
  EXPECT_TRUE((tokens.offsets == std::vector<ByteSpan>{{0, 5}, {5, 6}, {6, 7}, {8, 9}}));
}

TEST(Vocabulary, FindsTokensOfEveryLength) {
  VocabularyList list;
  std::vector<std::string> tokens;
  for (std::size_t length = 0; length < 600; ++length) tokens.emplace_back(length, 'a');
  tokens.emplace_back("ab\0", 3);  // must not be taken for "ab"
  for (std::size_t id = 0; id < tokens.size(); ++id) list.add(tokens[id], static_cast<std::int32_t>(2 * id));
  const Vocabulary vocabulary(std::move(list), Vocabulary::Repeated::kError, "test");
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    ASSERT_EQ(vocabulary.find(tokens[id]), static_cast<std::int32_t>(2 * id));
    ASSERT_EQ(vocabulary.token(static_cast<std::int32_t>(2 * id)), tokens[id]);
    ASSERT_FALSE(vocabulary.contains(static_cast<std::int32_t>(2 * id + 1)));
  }
  EXPECT_EQ(vocabulary.find("ab"), kNoToken);
  EXPECT_EQ(vocabulary.find(std::string(300, 'a') + "b" + std::string(299, 'a')), kNoToken);
  EXPECT_EQ(vocabulary.longest(), 599u);
  EXPECT_EQ(vocabulary.size(), 601u);
  EXPECT_EQ(vocabulary.end_id(), 1201);
  EXPECT_EQ(vocabulary.token(-1), "");
  EXPECT_EQ(vocabulary.token(5000), "");
}

TEST(AddedTokens, FlagsDecideWhatIsCutOut) {
  SmallTokenizer tokenizer;
  tokenizer.add_token(14, "<x>", {{"lstrip", true}, {"rstrip", true}});
  tokenizer.add_token(15, "<x>y", {});
  tokenizer.add_token(16, "foo!", {{"single_word", true}});
  tokenizer.write();
  const auto loaded = tokenizer.load();
  EXPECT_THAT(token_texts(loaded, "the <x> the<x>yfoo![SEP]"),
              ElementsAre("the", "<x>", "the", "<x>y", "foo", "[UNK]", "[SEP]"));
  EXPECT_TRUE((loaded.tokenize("the \u2003<x> \n<x> e").offsets ==
               std::vector<ByteSpan>{{0, 3}, {3, 12}, {12, 16}, {16, 17}}));
  EXPECT_THAT(token_texts(loaded, "foo! foo!the"), ElementsAre("foo!", "foo", "[UNK]", "the"));
  EXPECT_EQ(loaded.tokenize("[SEP]the[SEP]").word_ids, (std::vector{0, 1, 2}));
}

TEST(Decoder, WordPiece) {
  const auto cleaned =
      make_decoder(object{{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}, "test");
  const auto plain =
      make_decoder(object{{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", false}}, "test");
  const std::vector<std::string> tokens{"##a", "##b", "c", ".", "n't", "do not", "'", "s", "'s"};
  EXPECT_EQ(plain->decode(tokens), "##ab c . n't do not ' s 's");
  EXPECT_EQ(cleaned->decode(tokens), "##ab c.n't don't ' s's");
  EXPECT_EQ(make_decoder(nullptr, "test")->decode(tokens), "##a ##b c . n't do not ' s 's");
  EXPECT_EQ(clean_up_spaces("a , b ! do not ' c ' I 'm we 've"), "a, b! do not'c'I'm we've");
}

TEST(Tokenizer, EncodesAndDecodes) {
  SmallTokenizer tokenizer;
  tokenizer.write();
  const auto loaded = tokenizer.load();
  const Encoding pair = loaded.encode("the", "river s", Tokenizer::EncodeOptions{});
  EXPECT_EQ(pair.ids, (std::vector{2, 5, 3, 7, 1, 3}));
  EXPECT_EQ(pair.type_ids, (std::vector{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(pair.sequence_ids, (std::vector{-1, 0, -1, 1, 1, -1}));
  EXPECT_EQ(pair.word_ids, (std::vector{-1, 0, -1, 0, 1, -1}));
  EXPECT_TRUE((pair.offsets == std::vector<ByteSpan>{{0, 0}, {0, 3}, {0, 0}, {0, 5}, {6, 7}, {0, 0}}));
  const Encoding bare = loaded.encode("the", "river", {.add_special_tokens = false});
  EXPECT_EQ(bare.ids, (std::vector{5, 7}));
  EXPECT_EQ(bare.type_ids, (std::vector{0, 1}));
  EXPECT_EQ(loaded.encode("", Tokenizer::EncodeOptions{}).ids, (std::vector{2, 3}));
  const TokenizedText first = loaded.tokenize("the"), second = loaded.tokenize("river the e");
  EXPECT_EQ(loaded.join(first, {0, 1}, second, {1, 3}).ids, (std::vector{2, 5, 3, 5, 10, 3}));
  const std::vector<std::int32_t> ids{2, 5, 99, -1, 7, 8, 3};
  EXPECT_EQ(loaded.decode(ids, {}), "[CLS] the rivers [SEP]");
  EXPECT_EQ(loaded.decode(ids, {.skip_special_tokens = true}), "the rivers");
  EXPECT_EQ(loaded.token_id("##s"), 8);
  EXPECT_EQ(loaded.token_id("nothing"), std::nullopt);
  EXPECT_EQ(loaded.vocab_size(), 14u);
}

TEST(SliceContext, StartsAreRoomMinusStrideApart) {
  const auto starts_and_ends = [](std::size_t tokens, std::size_t room, std::size_t stride) {
    std::vector<std::pair<std::size_t, std::size_t>> result;
    for (const ContextSlice& slice : slice_context(tokens, room, stride))
      result.emplace_back(slice.begin, slice.end);
    return result;
  };
  using Slices = std::vector<std::pair<std::size_t, std::size_t>>;
  EXPECT_EQ(starts_and_ends(0, 5, 2), (Slices{{0, 0}}));
  EXPECT_EQ(starts_and_ends(5, 5, 9), (Slices{{0, 5}}));  // all fit: the stride does not matter
  EXPECT_EQ(starts_and_ends(6, 5, 2), (Slices{{0, 5}, {3, 6}}));
  EXPECT_EQ(starts_and_ends(8, 5, 2), (Slices{{0, 5}, {3, 8}}));
  EXPECT_EQ(starts_and_ends(9, 5, 2), (Slices{{0, 5}, {3, 8}, {6, 9}}));
  EXPECT_EQ(starts_and_ends(3, 1, 0), (Slices{{0, 1}, {1, 2}, {2, 3}}));
  EXPECT_THROW(slice_context(3, 0, 0), Error);
  EXPECT_THROW(slice_context(0, 0, 0), Error);
  EXPECT_THROW(slice_context(6, 5, 5), Error);
}

}  // namespace
}  // namespace kvasir::tests
