#include "generation/gguf_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "kvasir/error.h"
#include "malformed/gguf_writer.h"
#include "temporary_folder.h"

namespace kvasir::generation {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
namespace gguf = tests::gguf;

std::vector<std::string> entries() {
  return {gguf::string("tokenizer.ggml.model", "llama"),
          gguf::strings("tokenizer.ggml.tokens",
                        {"<unk>", "<s>", "</s>", "\u2581", "a", "\u2581a", "<|im_end|>"}),
          gguf::floats("tokenizer.ggml.scores", {0, 0, 0, -1, -2, -3, 0}),
          gguf::i32s("tokenizer.ggml.token_type", {2, 3, 3, 1, 1, 1, 3}),
          gguf::u32("tokenizer.ggml.bos_token_id", 1),
          gguf::u32("tokenizer.ggml.eos_token_id", 2)};
}

ModelLanguage language_of(const std::vector<std::string>& metadata) {
  const std::string bytes = gguf::write({.metadata = metadata});
  return load_gguf_language(formats::parse_gguf(std::as_bytes(std::span(bytes)), "m.gguf").metadata);
}

std::string error_of(const std::vector<std::string>& metadata) {
  try {
    language_of(metadata);
  } catch (const Error& error) {
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

TEST(GgufTokenizer, ReadsTheMetadata) {
  std::vector<std::string> metadata = entries();
  const ModelLanguage plain = language_of(metadata);
  EXPECT_THAT(plain.tokenizer.encode("a a", {}).ids, ElementsAre(1, 5, 5));
  EXPECT_EQ(plain.bos_token, "<s>");
  EXPECT_EQ(plain.eos_token, "</s>");
  EXPECT_THAT(plain.eos_ids, ElementsAre(2));
  EXPECT_FALSE(plain.chat_template);

  metadata.push_back(gguf::u32("tokenizer.ggml.eot_token_id", 6));
  metadata.push_back(gguf::boolean("tokenizer.ggml.add_bos_token", false));
  metadata.push_back(gguf::boolean("tokenizer.ggml.add_eos_token", true));
  metadata.push_back(gguf::boolean("tokenizer.ggml.add_space_prefix", false));
  metadata.push_back(gguf::string("tokenizer.chat_template", "{{ bos_token }}{{ messages[0].content }}"));
  const ModelLanguage chat = language_of(metadata);
  EXPECT_THAT(chat.tokenizer.encode("a a", {}).ids, ElementsAre(4, 5, 2));
  EXPECT_THAT(chat.eos_ids, ElementsAre(2, 6));
  ASSERT_TRUE(chat.chat_template);
  const text::ChatMessage messages[] = {{"user", "a"}};
  EXPECT_EQ(chat.chat_template->render(messages, {.bos_token = chat.bos_token}), "<s>a");
}

// Files say in three ways that there is no such token.
TEST(GgufTokenizer, TokensThatThereAreNot) {
  std::vector<std::string> metadata = entries();
  metadata.pop_back();
  metadata[4] = gguf::u32("tokenizer.ggml.bos_token_id", ~0U);
  metadata.push_back(gguf::entry("tokenizer.ggml.eot_token_id", formats::GgufType::kI32, gguf::number(-1)));
  const ModelLanguage language = language_of(metadata);
  EXPECT_THAT(language.tokenizer.encode("a", {}).ids, ElementsAre(5));
  EXPECT_EQ(language.bos_token + language.eos_token, "");
  EXPECT_TRUE(language.eos_ids.empty());
}

// A file, and a folder that holds one: what generate() and chat() take their tokens and templates from.
TEST(GgufTokenizer, OfAModelThatIsAFile) {
  const tests::TemporaryFolder folder;
  std::vector<std::string> metadata = entries();
  metadata.push_back(gguf::string("tokenizer.chat_template", "{{ messages[0].content }}"));
  std::ofstream(folder / "m.gguf", std::ios::binary) << gguf::write({.metadata = metadata});
  for (const std::filesystem::path& path : {folder / "m.gguf", folder.path()}) {
    const ModelLanguage language = load_language(path);
    EXPECT_THAT(language.tokenizer.encode("a a", {}).ids, ElementsAre(1, 5, 5));
    EXPECT_THAT(language.eos_ids, ElementsAre(2));
    EXPECT_TRUE(language.chat_template);
  }
}

TEST(GgufTokenizer, Refusals) {
  const auto without = [](std::size_t i) {
    std::vector<std::string> metadata = entries();
    metadata.erase(metadata.begin() + static_cast<std::ptrdiff_t>(i));
    return error_of(metadata);
  };
  EXPECT_THAT(without(0), HasSubstr("m.gguf: metadata key tokenizer.ggml.model is missing"));
  EXPECT_THAT(without(1), HasSubstr("metadata key tokenizer.ggml.tokens is missing"));
  EXPECT_THAT(without(2), HasSubstr("tokenizer.ggml.scores has 0 elements, and there are 7 tokens"));
  const auto with = [](const std::string& entry) {
    std::vector<std::string> metadata = entries();
    metadata.push_back(entry);
    return error_of(metadata);
  };
  EXPECT_THAT(with(gguf::u32("tokenizer.ggml.padding_token_id", 7)), HasSubstr("padding_token_id is 7"));
  EXPECT_THAT(with(gguf::u32("tokenizer.ggml.mask_token_id", ~0U - 1)),
              HasSubstr("mask_token_id is 1073741824"));
  EXPECT_THAT(with(gguf::u32("tokenizer.ggml.add_bos_token", 1)), HasSubstr("add_bos_token is of type u32"));
  EXPECT_THAT(with(gguf::string("tokenizer.chat_template", "{% if %}")),
              HasSubstr("m.gguf: tokenizer.chat_template:1: "));
}

}  // namespace
}  // namespace kvasir::generation
