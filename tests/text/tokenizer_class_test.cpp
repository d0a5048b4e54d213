// What the classes of transformers 4.57.6 make of a folder beside what its files say. The expected tokens are
// those of AutoTokenizer on the same folder.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "kvasir/error.h"
#include "temporary_folder.h"
#include "token_case.h"

namespace kvasir::tests {
namespace {

using base::json::object;
using testing::ElementsAre;
using testing::HasSubstr;
using text::ByteSpan;

// A folder with some files of the test data and a configuration.
class Folder {
 public:
  Folder(const std::string& source, std::initializer_list<const char*> files) {
    for (const char* file : files) copy(source, file, file);
  }
  void copy(const std::string& source, const char* file, const char* name) const {
    std::filesystem::copy_file(test_data(source) / file, folder_ / name);
  }
  void write(const char* name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }
  text::Tokenizer load(const object& config) const {
    write("tokenizer_config.json", base::json::serialize(config));
    return text::Tokenizer::load(folder_.path());
  }
  std::string error(const object& config) const {
    try {
      load(config);
    } catch (const Error& error) {
      return error.what();
    }
    return "loaded";
  }

 private:
  TemporaryFolder folder_;
};

std::vector<std::string> tokens_of(const text::Tokenizer& tokenizer, const std::string& text) {
  std::vector<std::string> tokens;
  for (const std::int32_t id : tokenizer.encode(text, text::Tokenizer::EncodeOptions{}).ids) {
    tokens.emplace_back(tokenizer.token(id));
  }
  return tokens;
}

TEST(TokenizerClass, RobertaOverridesSpacesAndOffsets) {
  const Folder folder("encoders-qa/roberta", {"tokenizer.json"});
  const auto plain = folder.load({{"tokenizer_class", "RobertaTokenizer"}});
  EXPECT_THAT(tokens_of(plain, "the a"), ElementsAre("<s>", "the", "\u0120a", "</s>"));
  EXPECT_TRUE((plain.tokenize("the a").offsets == std::vector<ByteSpan>{{0, 3}, {4, 5}}));
  const auto untrimmed = folder.load({{"tokenizer_class", "RobertaTokenizer"}, {"trim_offsets", false}});
  EXPECT_TRUE((untrimmed.tokenize("the a").offsets == std::vector<ByteSpan>{{0, 3}, {3, 5}}));

  const auto prefixed = folder.load({{"tokenizer_class", "RobertaTokenizer"}, {"add_prefix_space", true}});
  EXPECT_THAT(tokens_of(prefixed, "the a"), ElementsAre("<s>", "\u0120the", "\u0120a", "</s>"));
  const auto first = prefixed.tokenize("the"), second = prefixed.tokenize("the a the");
  // A single space before the first token of a window stays: it might be the one that was put there.
  const text::Encoding window = prefixed.join(first, {0, 1}, second, {1, 3});
  EXPECT_TRUE(
      (window.offsets == std::vector<ByteSpan>{{0, 0}, {0, 3}, {0, 0}, {0, 0}, {3, 5}, {6, 9}, {0, 0}}));
}

TEST(TokenizerClass, MaskOfTheClassTakesTheSpaceBeforeIt) {
  const Folder folder("encoders-qa/albert", {"spiece.model"});
  const auto tokenizer = folder.load({{"tokenizer_class", "AlbertTokenizer"}});
  EXPECT_TRUE((tokenizer.tokenize("a [MASK]").offsets == std::vector<ByteSpan>{{0, 1}, {1, 8}}));
  EXPECT_EQ(tokenizer.special_ids().mask, 4);
  EXPECT_EQ(tokenizer.special_ids().pad, 0);
  EXPECT_EQ(tokenizer.special_ids().cls, 2);
  EXPECT_EQ(tokenizer.pair_template_tokens(), 3u);
}

// The classes that end in Fast seek them in the normalised text.
TEST(TokenizerClass, WithoutTokenizerJsonMpnetSeeksItsTokensInTheTextAsItIs) {
  const Folder folder("encoders-qa/mpnet", {"vocab.txt"});
  const auto tokenizer = folder.load({{"tokenizer_class", "MPNetTokenizer"}});
  EXPECT_THAT(tokens_of(tokenizer, "a  <mask>"), ElementsAre("<s>", "a", "<mask>", "</s>"));
  EXPECT_THAT(tokens_of(tokenizer, "a <S>"), ElementsAre("<s>", "a", "<", "s", ">", "</s>"));
}

// In the text as it is, space before it would be stripped.
TEST(TokenizerClass, WithoutTokenizerJsonDebertaSeeksTheUnknownTokenInTheNormalizedText) {
  const Folder folder("encoders-qa/albert", {});
  folder.copy("encoders-qa/albert", "spiece.model", "spm.model");
  const auto tokenizer = folder.load({{"tokenizer_class", "DebertaV2Tokenizer"}, {"unk_token", "<unk>"}});
  EXPECT_THAT(tokens_of(tokenizer, "in  <unk>"),
              ElementsAre("[CLS]", "\u2581in", "\u2581", "<unk>", "[SEP]"));
}

TEST(TokenizerClass, InputsPaddingAndTemplates) {
  const struct {
    const char* family;
    std::size_t pair_tokens;
    bool types;
    const char *cls, *sep, *pad;
  } families[] = {
      {"roberta", 4, false, "<s>", "</s>", "<pad>"},      {"xlm-roberta", 4, false, "<s>", "</s>", "<pad>"},
      {"mpnet", 4, false, "<s>", "</s>", "<pad>"},        {"modernbert", 3, false, "[CLS]", "[SEP]", "[PAD]"},
      {"electra", 3, true, "[CLS]", "[SEP]", "[PAD]"},    {"albert", 3, true, "[CLS]", "[SEP]", "<pad>"},
      {"deberta-v2", 3, true, "[CLS]", "[SEP]", "[PAD]"}, {"mobilebert", 3, true, "[CLS]", "[SEP]", "[PAD]"},
  };
  for (const auto& family : families) {
    SCOPED_TRACE(family.family);
    const auto tokenizer = text::Tokenizer::load(test_data("encoders-qa") / family.family);
    EXPECT_EQ(tokenizer.pair_template_tokens(), family.pair_tokens);
    EXPECT_EQ(tokenizer.model_input_names().size(), family.types ? 3u : 2u);
    EXPECT_EQ(tokenizer.token(tokenizer.special_ids().cls.value()), family.cls);
    EXPECT_EQ(tokenizer.token(tokenizer.special_ids().sep.value()), family.sep);
    EXPECT_EQ(tokenizer.token(tokenizer.special_ids().pad.value()), family.pad);
    EXPECT_TRUE(tokenizer.special_ids().mask && tokenizer.special_ids().unk);
    EXPECT_FALSE(tokenizer.pad_left());
  }
  EXPECT_TRUE(text::Tokenizer::load(test_data("tokenizers/llama")).pad_left());
}

TEST(TokenizerClass, TemplateOfBosAndEos) {
  const Folder mpt("tokenizers/mpt", {"tokenizer.json"});
  EXPECT_THAT(tokens_of(mpt.load({{"tokenizer_class", "GPTNeoXTokenizer"}}), "a"), ElementsAre("a"));
  EXPECT_THAT(tokens_of(mpt.load({{"tokenizer_class", "GPTNeoXTokenizer"}, {"add_bos_token", true}}), "a"),
              ElementsAre("<|endoftext|>", "a"));
  const Folder llama("tokenizers/llama", {"tokenizer.model"});
  const object eos{{"tokenizer_class", "LlamaTokenizer"}, {"add_bos_token", false}, {"add_eos_token", true}};
  EXPECT_THAT(tokens_of(llama.load(eos), "a"), ElementsAre("\u2581a", "</s>"));
  const object no_prefix{{"tokenizer_class", "LlamaTokenizer"}, {"add_prefix_space", nullptr}};
  EXPECT_THAT(tokens_of(llama.load(no_prefix), "a"), ElementsAre("<s>", "a"));
  const object no_bos{{"tokenizer_class", "LlamaTokenizer"}, {"bos_token", nullptr}};
  EXPECT_THAT(llama.error(no_bos), HasSubstr("bos_token is missing"));
}

TEST(TokenizerClass, FilesThatAreWrong) {
  Folder pieces("tokenizers/llama", {"tokenizer.model"});
  EXPECT_THAT(pieces.error({{"tokenizer_class", "XLMRobertaTokenizer"}}),
              HasSubstr("tokenizer.model: model type 2, where class XLMRobertaTokenizer has 1"));
  EXPECT_THAT(pieces.error({{"tokenizer_class", "BertTokenizer"}}),
              HasSubstr("tokenizer.model: class BertTokenizer cannot be built from this file"));
  const object llama{{"tokenizer_class", "LlamaTokenizer"}};
  const std::pair<std::string, const char*> bad[] = {
      {"", "it has no pieces"},
      {"\x0A\x05", "a field reaches beyond the end"},
      {"\x0A", "it ends in the middle of a field"},
      {"\x0B", "a field has the unknown wire type 3"},
      {std::string("\x00\x00", 2), "a field has number 0"},
      {std::string(11, '\xFF'), "a number has more than ten bytes"},
      {"\x0A\x03\x0A\x01\xFF", "piece 0 is not UTF-8"},
      {std::string("\x0A\x02\x0A\x00", 4), "piece 0 is empty"},
      {std::string("\x0A\x02\x08\x00", 4), "field 1 has wire type 0, not 2"},
  };
  for (const auto& [content, message] : bad) {
    pieces.write("tokenizer.model", content);
    EXPECT_THAT(pieces.error(llama), HasSubstr(std::string("is no SentencePiece model: ") + message));
  }
  const Folder bytes("encoders-qa/roberta", {"vocab.json", "merges.txt"});
  const object roberta{{"tokenizer_class", "RobertaTokenizer"}};
  EXPECT_EQ(bytes.error(roberta), "loaded");
  bytes.write("merges.txt", "#version: 0.2\nt h e\n");
  EXPECT_THAT(bytes.error(roberta), HasSubstr("merges.txt:2: is not two tokens"));
  bytes.write("merges.txt", "#version: 0.2\nt nothing-like-it\n");
  EXPECT_THAT(bytes.error(roberta), HasSubstr("token \"nothing-like-it\" is not in the vocabulary"));
  bytes.write("vocab.json", "[]");
  EXPECT_THAT(bytes.error(roberta), HasSubstr("vocab.json: is not an object"));
  bytes.write("vocab.json", "{\"a\": \"b\"}");
  EXPECT_THAT(bytes.error(roberta), HasSubstr("vocab.json:1: token \"a\" has a string where an id"));
}

}  // namespace
}  // namespace kvasir::tests
