// What the configuration files make of a tokenizer, by the rules of transformers 4.57.6.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "small_tokenizer.h"

namespace kvasir::tests {
namespace {

using base::json::array;
using base::json::object;
using testing::ElementsAre;

using Options = text::Tokenizer::EncodeOptions;

TEST(TokenizerConfig, OverridesBertNormalizer) {
  SmallTokenizer tokenizer;
  tokenizer.write();
  EXPECT_THAT(token_texts(tokenizer.load(), "The \u00E9"), ElementsAre("the", "e"));
  tokenizer.write("tokenizer_config.json", {{"tokenizer_class", "BertTokenizer"}, {"do_lower_case", false}});
  EXPECT_THAT(token_texts(tokenizer.load(), "The \u00E9"), ElementsAre("The", "\u00E9"));
  tokenizer.write("tokenizer_config.json",
                  {{"tokenizer_class", "BertTokenizerFast"}, {"strip_accents", false}});
  EXPECT_THAT(token_texts(tokenizer.load(), "The \u00E9"), ElementsAre("the", "\u00E9"));
  tokenizer.write("tokenizer_config.json",
                  {{"tokenizer_class", "BertTokenizer"}, {"tokenize_chinese_chars", false}});
  EXPECT_THAT(token_texts(tokenizer.load(), "the\u4E2D"), ElementsAre("[UNK]"));
  // Only classes of BERT's kin have a say.
  tokenizer.write("tokenizer_config.json",
                  {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"do_lower_case", false}});
  EXPECT_THAT(token_texts(tokenizer.load(), "The \u00E9"), ElementsAre("the", "e"));
}

// transformers 4: do_lower_case is true unless the file says otherwise, and that counts for more than
// tokenizer.json.
TEST(TokenizerConfig, SilenceMeansTheDefaultsOfTheClass) {
  SmallTokenizer tokenizer;
  tokenizer.part("normalizer")["lowercase"] = false;
  tokenizer.write();
  EXPECT_THAT(token_texts(tokenizer.load(), "The"), ElementsAre("The"));
  tokenizer.write("config.json", {{"model_type", "distilbert"}});
  EXPECT_THAT(token_texts(tokenizer.load(), "The"), ElementsAre("the"));
  EXPECT_THAT(tokenizer.load().model_input_names(), ElementsAre("input_ids", "attention_mask"));
  tokenizer.write("config.json", {{"model_type", "distilbert"}, {"tokenizer_class", "BertTokenizer"}});
  EXPECT_THAT(tokenizer.load().model_input_names(),
              ElementsAre("input_ids", "token_type_ids", "attention_mask"));
  tokenizer.write("config.json", {{"model_type", "something-new"}});
  EXPECT_THAT(token_texts(tokenizer.load(), "The"), ElementsAre("The"));
}

// Another normaliser is not BERT's to configure, and clean_text is no argument of the class.
TEST(TokenizerConfig, LeavesOtherNormalizersAlone) {
  SmallTokenizer tokenizer;
  tokenizer.write("tokenizer_config.json", {{"tokenizer_class", "BertTokenizer"}, {"do_lower_case", false}});
  tokenizer.json()["normalizer"] = object{{"type", "Lowercase"}};
  tokenizer.write();
  EXPECT_THAT(token_texts(tokenizer.load(), "THE"), ElementsAre("the"));
  tokenizer.json()["normalizer"] = object{{"type", "BertNormalizer"}, {"clean_text", false}};
  tokenizer.write();
  EXPECT_THAT(token_texts(tokenizer.load(), "the\u00ADe"), ElementsAre("[UNK]"));
}

TEST(TokenizerConfig, Limits) {
  SmallTokenizer tokenizer;
  tokenizer.write();
  const auto load_with = [&](const object& config) {
    tokenizer.write("tokenizer_config.json", config);
    return tokenizer.load();
  };
  EXPECT_EQ(load_with({}).model_max_length(), SIZE_MAX);
  EXPECT_EQ(load_with({{"model_max_length", 512}}).model_max_length(), 512u);
  EXPECT_EQ(load_with({{"max_len", 99}}).model_max_length(), 99u);
  EXPECT_EQ(load_with({{"model_max_length", 1e30}}).model_max_length(), SIZE_MAX);
  tokenizer.write("tokenizer_config.json",
                  std::string(R"({"model_max_length": 1000000000000000019884624838656})"));
  EXPECT_EQ(tokenizer.load().model_max_length(), SIZE_MAX);
  EXPECT_THAT(load_with({{"model_input_names", array{"input_ids"}}}).model_input_names(),
              ElementsAre("input_ids"));
}

TEST(TokenizerConfig, PaddingSide) {
  SmallTokenizer tokenizer;
  tokenizer.write();
  EXPECT_FALSE(tokenizer.load().pad_left());
  tokenizer.write("tokenizer_config.json", {{"padding_side", "left"}});
  EXPECT_TRUE(tokenizer.load().pad_left());
  tokenizer.json()["padding"] = object{{"direction", "Left"}, {"strategy", "BatchLongest"}};
  tokenizer.json()["truncation"] = object{{"max_length", 2}};  // does not count
  tokenizer.write();
  tokenizer.write("tokenizer_config.json", object{});
  EXPECT_TRUE(tokenizer.load().pad_left());
  EXPECT_EQ(tokenizer.load().encode("the river the", Options{}).size(), 5u);
  tokenizer.write("tokenizer_config.json", {{"padding_side", "right"}});
  EXPECT_FALSE(tokenizer.load().pad_left());
}

TEST(TokenizerConfig, SpecialIds) {
  SmallTokenizer tokenizer;
  tokenizer.write();
  auto ids = tokenizer.load().special_ids();  // by their usual names
  EXPECT_EQ(ids.cls, 2);
  EXPECT_EQ(ids.sep, 3);
  EXPECT_EQ(ids.pad, 0);
  EXPECT_EQ(ids.unk, 1);
  EXPECT_EQ(ids.mask, 4);
  tokenizer.write(
      "tokenizer_config.json",
      {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"cls_token", "foo"}, {"pad_token", "<pad>"}});
  ids = tokenizer.load().special_ids();
  EXPECT_EQ(ids.cls, 13);
  EXPECT_EQ(ids.pad, 14);  // added, since the vocabulary lacks it
  EXPECT_EQ(ids.sep, std::nullopt);
  tokenizer.write("tokenizer_config.json",
                  {{"tokenizer_class", "BertTokenizer"}, {"mask_token", nullptr}, {"cls_token", "foo"}});
  ids = tokenizer.load().special_ids();
  EXPECT_EQ(ids.cls, 13);
  EXPECT_EQ(ids.sep, 3);
  EXPECT_EQ(ids.mask, std::nullopt);
}

TEST(TokenizerConfig, AddsTokens) {
  SmallTokenizer tokenizer;
  tokenizer.write();
  tokenizer.write(
      "tokenizer_config.json",
      {{"tokenizer_class", "BertTokenizer"},
       {"additional_special_tokens", array{"<a>"}},
       {"extra_special_tokens", {{"image_token", "<img>"}}},
       {"added_tokens_decoder",
        {{"14", {{"content", "River"}, {"normalized", true}, {"single_word", true}}},
         {"4", {{"content", "[MASK]"}, {"lstrip", true}, {"normalized", false}, {"special", true}}}}}});
  // Ignored, since tokenizer_config.json lists the added tokens.
  tokenizer.write("special_tokens_map.json", {{"mask_token", "<mask>"}});
  tokenizer.write("added_tokens.json", {{"<b>", 20}});
  const auto loaded = tokenizer.load();
  EXPECT_EQ(loaded.token_id("River"), 14);
  EXPECT_EQ(loaded.token_id("<a>"), 15);
  EXPECT_EQ(loaded.token_id("<img>"), 16);
  EXPECT_EQ(loaded.token_id("<b>"), std::nullopt);
  EXPECT_EQ(loaded.vocab_size(), 17u);
  // A normalized token is sought in the normalised text.
  EXPECT_THAT(token_texts(loaded, "RIVER rivers<a>"), ElementsAre("River", "river", "##s", "<a>"));
  // Its new flags: [MASK] takes the space before it along.
  EXPECT_EQ(loaded.tokenize("the  [MASK]").offsets.back(), (text::ByteSpan{3, 11}));
  EXPECT_EQ(loaded.decode(std::vector{15, 5, 14, 16}, {.skip_special_tokens = true}), "the River");
}

TEST(TokenizerConfig, FilesOfOldFolders) {
  SmallTokenizer tokenizer;
  tokenizer.write_vocabulary();
  tokenizer.write("special_tokens_map.json",
                  {{"mask_token", {{"content", "[MASK]"}, {"lstrip", true}, {"normalized", false}}},
                   {"additional_special_tokens", array{"<ent>"}}});
  tokenizer.write("added_tokens.json", {{"<ent>", 15}, {"foo bar", 14}});
  const auto loaded = tokenizer.load();
  EXPECT_EQ(loaded.token_id("foo bar"), 14);
  EXPECT_EQ(loaded.token_id("<ent>"), 15);
  EXPECT_EQ(loaded.tokenize("the  [MASK]").offsets.back(), (text::ByteSpan{3, 11}));
  EXPECT_EQ(loaded.decode(std::vector{15, 14}, {.skip_special_tokens = true}), "foo bar");
}

// One token per line, whatever ends the lines; of repeated tokens the last counts.
TEST(TokenizerConfig, VocabularyFile) {
  const SmallTokenizer tokenizer;
  tokenizer.write("vocab.txt", "[UNK]\r\n[CLS]\r[SEP]\nthe\n\nriver\nthe\n[PAD]\n[MASK]");
  const auto loaded = tokenizer.load();
  EXPECT_EQ(loaded.token_id("[SEP]"), 2);
  EXPECT_EQ(loaded.token_id(""), 4);
  EXPECT_EQ(loaded.token_id("the"), 6);
  EXPECT_EQ(loaded.token(3), "");
  EXPECT_EQ(loaded.special_ids().mask, 8);
  EXPECT_EQ(loaded.encode("the river", Options{}).ids, (std::vector{1, 6, 5, 2}));
}

TEST(TokenizerConfig, SpecialTokensThatTheVocabularyLacksComeAfterIt) {
  const SmallTokenizer tokenizer;
  tokenizer.write("vocab.txt", "[UNK]\nthe\n[SEP]\n");
  const auto loaded = tokenizer.load();
  EXPECT_EQ(loaded.special_ids().pad, 3);
  EXPECT_EQ(loaded.special_ids().cls, 4);
  EXPECT_EQ(loaded.special_ids().mask, 5);
  EXPECT_EQ(loaded.encode("the[MASK]", Options{}).ids, (std::vector{4, 1, 5, 2}));
}

}  // namespace
}  // namespace kvasir::tests
