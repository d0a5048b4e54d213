// Tokenizers of folders, written as GGUF has them and read again, give the same tokens.
#include "text/loading/gguf_vocabulary_export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "kvasir/error.h"
#include "temporary_folder.h"
#include "text/loading/gguf_vocabulary.h"
#include "text/tokenizer.h"
#include "token_case.h"

namespace kvasir::text {
namespace {

using base::json::value;
using testing::HasSubstr;
using tests::test_data;
using tests::text_of;

std::filesystem::path folder_of(const std::string& name) {
  const value expected = base::parse_json_file(test_data("tokenizers") / name / "expected.json");
  return test_data("tokenizers") / name / text_of(expected.at("tokenizer_dir"));
}

Tokenizer read_again(const ExportedVocabulary& written) {
  const std::vector<std::string_view> tokens(written.tokens.begin(), written.tokens.end());
  const std::vector<std::string_view> merges(written.merges.begin(), written.merges.end());
  GgufVocabulary vocabulary;
  vocabulary.model = written.model;
  vocabulary.pre = written.pre;
  vocabulary.tokens = tokens;
  vocabulary.scores = written.scores;
  vocabulary.types = written.types;
  vocabulary.merges = merges;
  vocabulary.bos = written.bos;
  vocabulary.eos = written.eos;
  vocabulary.unk = written.unk;
  vocabulary.pad = written.pad;
  vocabulary.add_bos = written.add_bos;
  vocabulary.add_eos = written.add_eos;
  vocabulary.add_space_prefix = written.add_space_prefix;
  return Tokenizer::from_gguf(vocabulary, "m.gguf");
}

void expect_same(const std::filesystem::path& folder, const std::filesystem::path& cases) {
  const Tokenizer reference = Tokenizer::load(folder);
  const Tokenizer tokenizer = read_again(export_gguf_vocabulary(folder));
  EXPECT_EQ(tokenizer.vocab_size(), reference.vocab_size());
  const value expected = base::parse_json_file(cases);
  for (const value& each : expected.at("cases").as_array()) {
    const std::string text = text_of(each.at("text"));
    const Encoding due = reference.encode(text, {});
    EXPECT_EQ(tokenizer.encode(text, {}).ids, due.ids) << text;
    EXPECT_EQ(tokenizer.decode(due.ids, {.skip_special_tokens = true}),
              reference.decode(due.ids, {.skip_special_tokens = true}))
        << text;
  }
}

struct Kind {
  const char *name, *model, *pre;
};

TEST(GgufVocabularyExport, GivesTheSameTokens) {
  for (const Kind& kind : {Kind{"falcon", "gpt2", "falcon"}, Kind{"mpt", "gpt2", "mpt"},
                           Kind{"bloom", "gpt2", "bloom"}, Kind{"llama", "llama", "default"}}) {
    SCOPED_TRACE(kind.name);
    const ExportedVocabulary written = export_gguf_vocabulary(folder_of(kind.name));
    EXPECT_EQ(written.model, kind.model);
    EXPECT_EQ(written.pre, kind.pre);
    EXPECT_EQ(written.types.size(), written.tokens.size());
    EXPECT_EQ(written.scores.empty(), written.model != "llama");
    EXPECT_EQ(written.merges.empty(), written.model == "llama");
    expect_same(folder_of(kind.name), test_data("tokenizers") / kind.name / "expected.json");
  }
}

TEST(GgufVocabularyExport, LlamaIsMarkedAsLlamaCppHasIt) {
  const ExportedVocabulary written = export_gguf_vocabulary(folder_of("llama"));
  EXPECT_EQ(written.types[0], GgufVocabulary::kUnknown);
  EXPECT_EQ(written.types[1], GgufVocabulary::kControl);
  EXPECT_EQ(written.tokens[3], "<0x00>");
  EXPECT_EQ(written.types[3], GgufVocabulary::kByte);
  EXPECT_EQ(written.types[259], GgufVocabulary::kNormal);
  EXPECT_EQ(written.bos, 1);
  EXPECT_EQ(written.eos, 2);
  EXPECT_EQ(written.unk, 0);
  EXPECT_TRUE(written.add_bos);
  EXPECT_FALSE(written.add_eos);
  EXPECT_TRUE(written.add_space_prefix);
}

// A folder that has only tokenizer.model says the same as its tokenizer.json.
TEST(GgufVocabularyExport, OfTokenizerModel) {
  const tests::TemporaryFolder folder;
  for (const char* name : {"tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"}) {
    std::filesystem::copy(folder_of("llama") / name, folder / name);
  }
  const ExportedVocabulary written = export_gguf_vocabulary(folder.path());
  EXPECT_EQ(written.model, "llama");
  EXPECT_EQ(written.tokens, export_gguf_vocabulary(folder_of("llama")).tokens);
  EXPECT_TRUE(written.add_bos);
  expect_same(folder.path(), test_data("tokenizers/llama/expected.json"));
}

std::string error_of(const std::filesystem::path& folder) {
  try {
    export_gguf_vocabulary(folder);
  } catch (const Error& error) {
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

TEST(GgufVocabularyExport, Refusals) {
  EXPECT_THAT(error_of(test_data("tokenizers/bert-base-uncased-real")),
              HasSubstr("model: only BPE can be written"));
  const tests::TemporaryFolder folder;
  value document = base::parse_json_file(folder_of("falcon") / "tokenizer.json");
  const auto with = [&](const char* pre_tokenizer) {
    document.as_object()["pre_tokenizer"] = base::json::parse(pre_tokenizer);
    std::ofstream(folder / "tokenizer.json") << base::json::serialize(document);
    return error_of(folder.path());
  };
  EXPECT_THAT(
      with(R"({"type": "ByteLevel", "add_prefix_space": true, "use_regex": true})"),
      HasSubstr((folder / "tokenizer.json").string() + ": pre_tokenizer: GGUF has no name for this one"));
  EXPECT_THAT(with(R"({"type": "Whitespace"})"), HasSubstr("GGUF has BPE of bytes, and BPE with bytes"));
  EXPECT_EQ(with(R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true})"), "none");
}

}  // namespace
}  // namespace kvasir::text
