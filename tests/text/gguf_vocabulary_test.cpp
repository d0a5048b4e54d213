#include "text/loading/gguf_vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "formats/gguf.h"
#include "kvasir/error.h"
#include "token_case.h"

namespace kvasir::text {
namespace {

using base::json::value;
using testing::ElementsAre;
using testing::HasSubstr;
using tests::integers;
using tests::test_data;
using tests::text_of;

// A vocabulary with what it points to.
struct Owned {
  std::vector<std::string> tokens, merges;
  std::vector<std::string_view> token_views, merge_views;
  std::vector<float> scores;
  std::vector<std::int32_t> types;
  GgufVocabulary vocabulary;

  Tokenizer load() {
    token_views.assign(tokens.begin(), tokens.end());
    merge_views.assign(merges.begin(), merges.end());
    vocabulary.tokens = token_views;
    vocabulary.merges = merge_views;
    vocabulary.scores = scores;
    vocabulary.types = types;
    return Tokenizer::from_gguf(vocabulary, "m.gguf");
  }
};

std::string error_of(Owned owned) {
  try {
    owned.load();
  } catch (const Error& error) {
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

// The vocabulary of a tokenizer.json, as convert_hf_to_gguf.py writes it.
Owned from_tokenizer_json(const std::filesystem::path& folder) {
  const value document = base::parse_json_file(folder / "tokenizer.json");
  const base::json::object& model = document.at("model").as_object();
  Owned owned;
  const auto set = [&](std::int64_t id, std::string_view token) {
    if (owned.tokens.size() <= static_cast<std::size_t>(id))
      owned.tokens.resize(static_cast<std::size_t>(id) + 1);
    owned.tokens[static_cast<std::size_t>(id)] = token;
  };
  for (const auto& [token, id] : model.at("vocab").as_object()) set(id.as_int64(), token);
  for (const value& added : document.at("added_tokens").as_array()) {
    set(added.at("id").as_int64(), added.at("content").as_string());
  }
  owned.types.assign(owned.tokens.size(), GgufVocabulary::kNormal);
  for (const value& added : document.at("added_tokens").as_array()) {
    owned.types[added.at("id").to_number<std::size_t>()] =
        added.at("special").as_bool() ? GgufVocabulary::kControl : GgufVocabulary::kUserDefined;
  }
  for (const value& merge : model.at("merges").as_array()) {
    owned.merges.push_back(merge.is_string() ? text_of(merge)
                                             : text_of(merge.at(0)) + " " + text_of(merge.at(1)));
  }
  owned.vocabulary.model = "gpt2";
  return owned;
}

// The decoder models' tokenizers give the same from GGUF as from tokenizer.json: tokens, offsets, texts.
TEST(GgufVocabulary, SameAsHuggingFace) {
  for (const auto& [name, pre] : {std::pair{"falcon", "falcon"}, {"mpt", "mpt"}, {"bloom", "bloom"}}) {
    SCOPED_TRACE(name);
    const value expected = base::parse_json_file(test_data("tokenizers") / name / "expected.json");
    const std::filesystem::path folder =
        test_data("tokenizers") / name / text_of(expected.at("tokenizer_dir"));
    Owned owned = from_tokenizer_json(folder);
    owned.vocabulary.pre = pre;
    const Tokenizer tokenizer = owned.load(), reference = Tokenizer::load(folder);
    EXPECT_EQ(tokenizer.vocab_size(), reference.vocab_size());
    for (const value& each : expected.at("cases").as_array()) {
      const std::string text = text_of(each.at("text"));
      const Encoding got = tokenizer.encode(text, {}), due = reference.encode(text, {});
      EXPECT_EQ(got.ids, due.ids) << text;
      EXPECT_EQ(got.offsets, due.offsets) << text;
      for (const bool skip : {false, true}) {
        EXPECT_EQ(tokenizer.decode(got.ids, {.skip_special_tokens = skip}),
                  reference.decode(got.ids, {.skip_special_tokens = skip}));
      }
    }
    for (const value& each : expected.at("decode_ids").as_array()) {
      const auto ids = integers(each.at("ids"));
      EXPECT_EQ(tokenizer.decode(ids, {}), reference.decode(ids, {}));
    }
  }
}

// Llama's tokenizer.json, which has merges, and its GGUF, which has scores, say the same.
TEST(GgufVocabulary, LlamaIsSameAsHuggingFace) {
  const value expected = base::parse_json_file(test_data("tokenizers/llama/expected.json"));
  const std::filesystem::path folder = test_data("tokenizers/llama") / text_of(expected.at("tokenizer_dir"));
  Owned owned = from_tokenizer_json(folder);
  // As Llama's pieces are numbered: specials, bytes, then pieces in the order of their scores.
  for (std::size_t i = 0; i < owned.tokens.size(); ++i) {
    if (owned.tokens[i].starts_with("<0x")) owned.types[i] = GgufVocabulary::kByte;
    owned.scores.push_back(i < 259 ? 0.0F : 259.0F - static_cast<float>(i));
  }
  owned.vocabulary.model = "llama";
  owned.vocabulary.bos = 1;
  owned.vocabulary.eos = 2;
  owned.vocabulary.unk = 0;
  const Tokenizer tokenizer = owned.load();
  for (const value& each : expected.at("cases").as_array()) {
    const std::string text = text_of(each.at("text"));
    EXPECT_EQ(tokenizer.encode(text, {}).ids, integers(each.at("ids"))) << text;
    const auto ids = integers(each.at("ids"));
    EXPECT_EQ(tokenizer.decode(ids, {}), text_of(each.at("decoded")));
  }
}

TEST(GgufVocabulary, SameAsLlamaCpp) {
  const value recorded = base::parse_json_file(test_data("gguf/vocabularies.json"));
  const auto compare = [&](const std::string& key, const Tokenizer& tokenizer) {
    SCOPED_TRACE(key);
    const base::json::array& texts = recorded.at("texts").as_array();
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::string text = text_of(texts[i]);
      EXPECT_EQ(tokenizer.encode(text, {.add_special_tokens = false}).ids, integers(recorded.at(key).at(i)))
          << text;
    }
  };
  int kinds = 0;
  for (const auto& [key, ids] : recorded.as_object()) {
    if (key == "texts") continue;
    ++kinds;
    const std::string name = std::string(key).substr(0, key.find(' '));
    const formats::GgufFile file(test_data("gguf/" + name + ".gguf"));
    const formats::GgufMetadata& metadata = file.metadata();
    Owned owned;
    for (const std::string_view token : metadata.strings("tokenizer.ggml.tokens"))
      owned.tokens.emplace_back(token);
    for (const std::int64_t type : metadata.integers("tokenizer.ggml.token_type")) {
      owned.types.push_back(static_cast<std::int32_t>(type));
    }
    const auto id = [&](const char* role) {
      return static_cast<std::int32_t>(
          metadata.integer("tokenizer.ggml." + std::string(role) + "_token_id", 0, 1 << 20));
    };
    owned.vocabulary.model = metadata.string("tokenizer.ggml.model");
    if (name == "gpt-2") {
      for (const std::string_view merge : metadata.strings("tokenizer.ggml.merges"))
        owned.merges.emplace_back(merge);
      owned.vocabulary.pre = std::string_view(key).substr(key.find(' ') + 1);
    } else if (name == "llama") {
      owned.scores = metadata.floats("tokenizer.ggml.scores");
      owned.vocabulary.unk = id("unknown");
    } else {
      owned.vocabulary.unk = id("unknown");
      owned.vocabulary.sep = id("seperator");
      owned.vocabulary.cls = id("cls");
    }
    compare(std::string(key), owned.load());
  }
  EXPECT_EQ(kinds, 24);
}

// A vocabulary of SentencePiece in which pairs tie: the leftmost goes first, whatever its parts.
TEST(GgufVocabulary, EqualScoresMergeFromTheLeft) {
  Owned owned;
  owned.tokens = {"<unk>", "a", "b", "ab", "ba", "aba"};
  owned.types = {2, 1, 1, 1, 1, 1};
  owned.scores = {0, -9, -9, -1, -1, -2};
  owned.vocabulary.model = "llama";
  owned.vocabulary.add_space_prefix = false;
  const Tokenizer tokenizer = owned.load();
  EXPECT_THAT(tokenizer.encode("ab", {}).ids, ElementsAre(3));
  EXPECT_THAT(tokenizer.encode("bab", {}).ids, ElementsAre(4, 2));   // ba, b: both pairs score -1
  EXPECT_THAT(tokenizer.encode("abab", {}).ids, ElementsAre(3, 3));  // ab, ab
  EXPECT_THAT(tokenizer.encode("aba", {}).ids, ElementsAre(5));
  EXPECT_THAT(tokenizer.encode("abx", {}).ids, ElementsAre(3, 0));  // no bytes here: unknown
}

Owned small() {
  Owned owned;
  owned.tokens = {"<unk>", "<s>", "</s>", "\u2581", "a", "\u2581a", "<user>"};
  owned.types = {2, 3, 3, 1, 1, 1, 4};
  owned.scores = {0, 0, 0, -1, -2, -3, 0};
  owned.vocabulary.model = "llama";
  owned.vocabulary.bos = 1;
  owned.vocabulary.eos = 2;
  return owned;
}

TEST(GgufVocabulary, SpecialTokensAndSpaces) {
  const auto ids = [](Owned owned, std::string_view text, bool special = true) {
    return owned.load().encode(text, {.add_special_tokens = special}).ids;
  };
  EXPECT_THAT(ids(small(), "a"), ElementsAre(1, 5));
  EXPECT_THAT(ids(small(), "a", false), ElementsAre(5));
  EXPECT_THAT(ids(small(), "a</s>a<user>a", false), ElementsAre(5, 2, 5, 6, 5));  // a space after each
  Owned owned = small();
  owned.vocabulary.add_space_prefix = false;
  owned.vocabulary.add_bos = false;
  owned.vocabulary.add_eos = true;
  EXPECT_THAT(ids(owned, "a</s>a a"), ElementsAre(4, 2, 4, 5, 2));
  const Tokenizer tokenizer = small().load();
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{1, 5, 6, 2}, {}), "<s> a<user></s>");
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{1, 5, 6, 2}, {.skip_special_tokens = true}),
            "a<user>");
  EXPECT_EQ(tokenizer.token_id("<user>"), 6);
  EXPECT_EQ(tokenizer.special_ids().unk, std::nullopt);  // no key says so
}

// Rows of the model's table without a token have no text either.
TEST(GgufVocabulary, PaddingIsNoToken) {
  Owned owned = small();
  owned.tokens.insert(owned.tokens.end(), {"[PAD7]", "[PAD8]", ""});
  owned.types.insert(owned.types.end(), {5, 1, 5});
  owned.scores.insert(owned.scores.end(), {0, 0, 0});
  owned.vocabulary.pad = 7;  // as where config.json has a pad_token_id that the tokenizer does not know
  const Tokenizer tokenizer = owned.load();
  EXPECT_EQ(tokenizer.special_ids().pad, 7);
  EXPECT_FALSE(tokenizer.added_tokens().contains(7));
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{5, 7, 8, 9}, {}), "a[PAD8]");
  EXPECT_EQ(tokenizer.token_id("[PAD7]"), std::nullopt);
}

TEST(GgufVocabulary, Refusals) {
  const auto with = [](const std::function<void(Owned&)>& change) {
    Owned owned = small();
    change(owned);
    return error_of(std::move(owned));
  };
  EXPECT_EQ(with([](Owned&) {}), "none");
  EXPECT_THAT(with([](Owned& o) { o.vocabulary.model = "rwkv"; }),
              HasSubstr("unsupported: m.gguf: metadata key tokenizer.ggml.model is rwkv"));
  EXPECT_THAT(with([](Owned& o) {
                o.vocabulary.model = "gpt2";
                o.vocabulary.pre = "tekken";
              }),
              HasSubstr("unsupported: m.gguf: metadata key tokenizer.ggml.pre is tekken"));
  EXPECT_THAT(with([](Owned& o) { o.tokens.clear(); }),
              HasSubstr("format: m.gguf: metadata key tokenizer.ggml.tokens"));
  EXPECT_THAT(with([](Owned& o) { o.tokens[3] = "\xff"; }), HasSubstr("token 3 is not UTF-8"));
  EXPECT_THAT(with([](Owned& o) { o.scores.pop_back(); }), HasSubstr("tokenizer.ggml.scores has 6 elements"));
  EXPECT_THAT(with([](Owned& o) { o.scores[0] = std::nanf(""); }), HasSubstr("scores holds a NaN"));
  EXPECT_THAT(with([](Owned& o) { o.types.pop_back(); }),
              HasSubstr("tokenizer.ggml.token_type has 6 elements"));
  EXPECT_THAT(with([](Owned& o) { o.vocabulary.bos = 7; }),
              HasSubstr("tokenizer.ggml.bos_token_id is 7, and there are 7 tokens"));
  EXPECT_THAT(with([](Owned& o) { o.vocabulary.eos = -1; }), HasSubstr("eos_token_id is -1"));
  for (const char* merge : {"", "a", "a ", " "}) {
    EXPECT_THAT(with([&](Owned& o) {
                  o.vocabulary.model = "gpt2";
                  o.merges = {merge};
                }),
                HasSubstr("is not two tokens"));
  }
  EXPECT_THAT(with([](Owned& o) {
                o.vocabulary.model = "gpt2";
                o.merges = {"a b"};
              }),
              HasSubstr("merges[0]: token \"b\" is not in the vocabulary"));
  EXPECT_THAT(with([](Owned& o) {
                o.vocabulary.model = "bert";
                o.vocabulary.bos.reset();
              }),
              HasSubstr("cls_token_id"));
}

}  // namespace
}  // namespace kvasir::text
