// Files that are wrong: the error says which file, which key, what is wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "kvasir/error.h"
#include "small_tokenizer.h"

namespace kvasir::tests {
namespace {

using base::json::array;
using base::json::object;
using testing::HasSubstr;

void expect_error(const SmallTokenizer& tokenizer, ErrorCode code, const std::string& file,
                  const std::string& message) {
  try {
    tokenizer.load();
    ADD_FAILURE() << "loaded; expected: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    const std::string where = file == "." ? tokenizer.folder() : tokenizer.path(file);
    EXPECT_THAT(error.what(), testing::StartsWith(where + ":"));
    EXPECT_THAT(error.what(), HasSubstr(message));
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

struct BadJson {
  const char* message;
  std::function<void(SmallTokenizer&)> spoil;
  ErrorCode code = ErrorCode::kFormat;
};

// A BPE model of a, b and aa; a unigram model.
object bpe(const array& merges) {
  return {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}, {"aa", 2}}}, {"merges", merges}};
}
object unigram(const base::json::value& vocabulary) {
  return {{"type", "Unigram"}, {"unk_id", 1}, {"vocab", vocabulary}};
}

const object kBert{{"type", "BertProcessing"}, {"sep", array{"[SEP]", 3}}, {"cls", array{"[CLS]", 2}}};

TEST(TokenizerErrors, PartsOfTokenizerJson) {
  const auto set = [](const char* part, const char* key, base::json::value value) {
    return [=](SmallTokenizer& t) { t.part(part)[key] = value; };
  };
  const auto replace = [](const char* part, base::json::value value) {
    return [=](SmallTokenizer& t) { t.json()[part] = value; };
  };
  const auto set_token_id = [](const char* token, base::json::value id) {
    return [=](SmallTokenizer& t) { t.part("model")["vocab"].as_object()[token] = id; };
  };
  const BadJson
      cases
          [] =
              {
                  {"model: key unk_token is missing",
                   [](SmallTokenizer& t) { t.part("model").erase("unk_token"); }},
                  {"model: the vocabulary lacks the unknown token <unk>", set("model", "unk_token", "<unk>")},
                  {"model: key max_input_chars_per_word = -1 is out of range",
                   set("model", "max_input_chars_per_word", -1)},
                  {"model: type WordLevel is not supported",
                   replace("model", object{{"type", "WordLevel"}, {"vocab", object{}}}),
                   ErrorCode::kUnsupported},
                  {"model: key merges is missing",
                   replace("model", object{{"type", "BPE"}, {"vocab", object{}}})},
                  {"model: merges[1]: token \"ab\" is not in the vocabulary",
                   replace("model", bpe(array{"a a", array{"a", "b"}}))},
                  {"model: merges[0]: token \"c\" is not in the vocabulary",
                   replace("model", bpe(array{"a c"}))},
                  {"model: merges[0] has \"a\" where two tokens are due", replace("model", bpe(array{"a"}))},
                  {"model: merges[0] has \"a b c\" where two tokens are due",
                   replace("model", bpe(array{"a b c"}))},
                  {"model: merges[0] has a list of 1 where two tokens are due",
                   replace("model", bpe(array{array{"a"}}))},
                  {"model: merges[0] has 5 where two tokens are due", replace("model", bpe(array{5}))},
                  {"model: merges[0] has an object where two tokens are due",
                   replace("model", bpe(array{object{}}))},
                  {"model: merges[0] has a list where two tokens are due",
                   replace("model", bpe(array{array{array{}}}))},
                  {"model: key vocab is not a list", replace("model", unigram(object{{"a", 0}}))},
                  {"model: vocab[1] has a list of 1 where [token, score] is due",
                   replace("model", unigram(array{array{"a", 0}, array{"b"}}))},
                  {"model: vocab[0] has 5 where [token, score] is due", replace("model", unigram(array{5}))},
                  {"model: vocab[0] has a string where [token, score] is due",
                   replace("model", unigram(array{array{"a", "b"}}))},
                  {"model: unk_id 1 is not one of the 1 tokens",
                   replace("model", unigram(array{array{"a", 0}}))},
                  {"model: key type is missing", replace("model", object{})},
                  {"key model is missing", [](SmallTokenizer& t) { t.json().erase("model"); }},
                  {"model: key vocab is not an object", set("model", "vocab", array{})},
                  {"token \"e\" has id 5, which token \"the\" has already", set_token_id("e", 5)},
                  {"token \"the\" has -1 where an id", set_token_id("the", -1)},
                  {"token \"the\" has 10000001 where an id", set_token_id("the", 10'000'001)},
                  {"token \"the\" has 1.5E0 where an id", set_token_id("the", 1.5)},
                  {"token \"the\" has a string where an id", set_token_id("the", "5")},
                  {"token \"the\" has null where an id", set_token_id("the", nullptr)},
                  {"token \"the\" has a boolean where an id", set_token_id("the", true)},
                  {"token \"the\" has a list where an id", set_token_id("the", array{5})},
                  {"token \"the\" has an object where an id", set_token_id("the", object{})},
                  {"token \"the\" has 18446744073709551615 where an id", set_token_id("the", UINT64_MAX)},
                  {"normalizer: key type is missing", replace("normalizer", object{})},
                  {"normalizer: precompiled_charsmap: is not base64",
                   replace("normalizer", object{{"type", "Precompiled"}, {"precompiled_charsmap", "A"}})},
                  {"normalizer: precompiled_charsmap: is not base64",
                   replace("normalizer", object{{"type", "Precompiled"}, {"precompiled_charsmap", "AA=A"}})},
                  {"normalizer: precompiled_charsmap: is no character map: it ends early",
                   replace("normalizer",
                           object{{"type", "Precompiled"}, {"precompiled_charsmap", "CAAAAAAA"}})},
                  {"normalizer: precompiled_charsmap: is no character map: its strings are not UTF-8",
                   replace("normalizer",
                           object{{"type", "Precompiled"}, {"precompiled_charsmap", "BAAAAAAAAAD/"}})},
                  {"normalizer: key lowercase is a string where a boolean is due",
                   set("normalizer", "lowercase", "yes")},
                  {"normalizer: pattern: Regex: not a valid regular expression: end pattern with unmatched "
                   "parenthesis",
                   replace("normalizer",
                           object{{"type", "Replace"}, {"pattern", {{"Regex", "(a"}}}, {"content", "b"}})},
                  {"normalizer: pattern: Regex: the regular expression has 10001 bytes",
                   replace("normalizer",
                           object{{"type", "Replace"},
                                  {"pattern", {{"Regex", std::string(10'001, 'a')}}},
                                  {"content", "b"}})},
                  {"normalizer: pattern: String is empty",
                   replace("normalizer",
                           object{{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", "b"}})},
                  {"normalizer: normalizers[0]: type Foo is not supported",
                   replace("normalizer",
                           object{{"type", "Sequence"}, {"normalizers", array{{{"type", "Foo"}}}}}),
                   ErrorCode::kUnsupported},
                  {"pre_tokenizer: type UnicodeScripts is not supported",
                   replace("pre_tokenizer", object{{"type", "UnicodeScripts"}}), ErrorCode::kUnsupported},
                  {"pre_tokenizer: key replacement is not one character",
                   replace("pre_tokenizer", object{{"type", "Metaspace"}, {"replacement", "__"}})},
                  {"pre_tokenizer: key prepend_scheme = \"last\" is neither always, first nor never",
                   replace("pre_tokenizer",
                           object{{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "last"}})},
                  {"pre_tokenizer: key add_prefix_space = false contradicts prepend_scheme",
                   replace("pre_tokenizer", object{{"type", "Metaspace"},
                                                   {"replacement", "_"},
                                                   {"prepend_scheme", "always"},
                                                   {"add_prefix_space", false}})},
                  {"pre_tokenizer: key length = 0 is out of range",
                   replace("pre_tokenizer", object{{"type", "FixedLength"}, {"length", 0}})},
                  {"pre_tokenizer: key behavior = \"Split\" is not a way to split",
                   replace("pre_tokenizer", object{{"type", "Punctuation"}, {"behavior", "Split"}})},
                  {"pre_tokenizer: key delimiter is not one character",
                   replace("pre_tokenizer", object{{"type", "CharDelimiterSplit"}, {"delimiter", "--"}})},
                  {"post_processor: type Other is not supported",
                   replace("post_processor", object{{"type", "Other"}}), ErrorCode::kUnsupported},
                  {"post_processor: key processors is not a list",
                   replace("post_processor", object{{"type", "Sequence"}, {"processors", 1}})},
                  {"processors[1]: a second processor that adds tokens is not supported",
                   replace("post_processor",
                           object{{"type", "Sequence"}, {"processors", array{kBert, kBert}}}),
                   ErrorCode::kUnsupported},
                  {"post_processor: special_tokens: key [CLS] is missing",
                   set("post_processor", "special_tokens", object{})},
                  {"post_processor: key single is not a list", set("post_processor", "single", "$A")},
                  {"post_processor: single[0]: Sequence: key id = \"C\" is neither A nor B",
                   set("post_processor", "single", array{{{"Sequence", {{"id", "C"}, {"type_id", 0}}}}})},
                  {"the template \"pair\" has no place for one of its texts",
                   set("post_processor", "pair", array{{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}})},
                  {"the template \"single\" has a place for a text that is not there",
                   set("post_processor", "single", array{{{"Sequence", {{"id", "B"}, {"type_id", 0}}}}})},
                  {"post_processor: key sep is not a pair of a token and its id",
                   replace("post_processor",
                           object{{"type", "BertProcessing"}, {"sep", "[SEP]"}, {"cls", array{"[CLS]", 2}}})},
                  {"decoder: type Other is not supported", replace("decoder", object{{"type", "Other"}}),
                   ErrorCode::kUnsupported},
                  {"decoder: decoders[0] is null",
                   replace("decoder", object{{"type", "Sequence"}, {"decoders", array{nullptr}}})},
                  {"decoder: key content is empty",
                   replace("decoder", object{{"type", "Strip"}, {"content", ""}, {"start", 0}, {"stop", 0}})},
                  {"key version = \"2.0\" is not the known 1.0", replace("version", "2.0")},
                  {"key added_tokens is not a list", replace("added_tokens", object{})},
                  {"added_tokens[0]: key content is missing", replace("added_tokens", array{{{"id", 1}}})},
                  {"added_tokens[5]: key id = 10000001 is out of range",
                   [](SmallTokenizer& t) { t.add_token(10'000'001, "<x>", {}); }},
                  {"nothing is left of added token \"\u0301\" when it is normalised",
                   [](SmallTokenizer& t) { t.add_token(14, "\u0301", {{"normalized", true}}); },
                   ErrorCode::kUnsupported},
                  {"added token \"<x>\" would get id 14, which token \"gap\" has already",
                   [](SmallTokenizer& t) {
                     t.part("model")["vocab"].as_object().erase("foo");
                     t.part("model")["vocab"].as_object()["gap"] = 14;
                     t.add_token(15, "<x>", {});
                   }},
                  {"padding: key direction = \"Up\" is neither Left nor Right",
                   replace("padding", object{{"direction", "Up"}})},
              };
  for (const BadJson& bad : cases) {
    SCOPED_TRACE(bad.message);
    SmallTokenizer tokenizer;
    bad.spoil(tokenizer);
    tokenizer.write();
    expect_error(tokenizer, bad.code, "tokenizer.json", bad.message);
  }
}

TEST(TokenizerErrors, TextOfTokenizerJson) {
  SmallTokenizer tokenizer;
  const auto expect = [&](const std::string& content, const std::string& message) {
    tokenizer.write("tokenizer.json", content);
    expect_error(tokenizer, ErrorCode::kFormat, "tokenizer.json", message);
  };
  expect("", ":1: not valid JSON");
  expect("{\n\"version\": \"1.0\",\n\"model\": {\"vocab\": {\"a\" 5}}}", ":3: not valid JSON");
  expect("{\"model\": {\"vocab\": {\"a\": 5", "not valid JSON");
  expect("{\"model\": {\"vocab\": {\"a\": 5}}} {}", "something follows the end of the document");
  expect("[]", "is a list where an object is due");
  expect(std::string(200, '['), "nested more than 100 levels deep");
  expect("{\"a\xFF\": 1}", "not valid JSON");
  std::string repeated = base::json::serialize(tokenizer.json());
  repeated.insert(repeated.find("\"river\""), "\"the\":99,");
  expect(repeated, "model: vocab: token \"the\" is listed twice");
}

TEST(TokenizerErrors, Folder) {
  const SmallTokenizer tokenizer;
  expect_error(tokenizer, ErrorCode::kNotFound, ".",
               "holds neither tokenizer.json nor vocab.txt, vocab.json");
  try {
    text::Tokenizer::load(tokenizer.path("missing"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_THAT(error.what(), HasSubstr("missing: no such folder"));
  }
  std::filesystem::create_directory(tokenizer.path("tokenizer.json"));
  expect_error(tokenizer, ErrorCode::kIo, "tokenizer.json", "");
}

TEST(TokenizerErrors, VocabularyFile) {
  SmallTokenizer tokenizer;
  tokenizer.write("vocab.txt", "the\n[UNK]\nriver\xC3\n");
  expect_error(tokenizer, ErrorCode::kFormat, "vocab.txt", "is not UTF-8 (byte 15)");
  tokenizer.write("vocab.txt", "the\nriver\n");
  expect_error(tokenizer, ErrorCode::kFormat, "vocab.txt", "the vocabulary lacks the unknown token [UNK]");
  tokenizer.write("vocab.txt", "[UNK]\n");
  tokenizer.write("tokenizer_config.json", {{"tokenizer_class", "RobertaTokenizer"}});
  expect_error(tokenizer, ErrorCode::kUnsupported, "vocab.txt",
               "class RobertaTokenizer cannot be built from this file");
  tokenizer.write("tokenizer_config.json", {{"tokenizer_class", "BertTokenizer"}, {"cls_token", nullptr}});
  expect_error(tokenizer, ErrorCode::kFormat, ".", "cls_token and sep_token are needed");
}

TEST(TokenizerErrors, Configuration) {
  const struct {
    const char *file, *content, *message;
  } cases[] = {
      {"tokenizer_config.json", "{", ":1: not valid JSON"},
      {"tokenizer_config.json", "[]", "is a list where an object is due"},
      {"tokenizer_config.json", R"({"tokenizer_class": 5})",
       "key tokenizer_class is an integer where a string"},
      {"tokenizer_config.json", R"({"padding_side": "top"})",
       "key padding_side = \"top\" is neither left nor right"},
      {"tokenizer_config.json", R"({"model_max_length": "512"})",
       "key model_max_length is a string where a number"},
      {"tokenizer_config.json", R"({"model_max_length": 0})", "key model_max_length is less than 1"},
      {"tokenizer_config.json", R"({"model_input_names": "ids"})", "key model_input_names is not a list"},
      {"tokenizer_config.json", R"({"model_input_names": [1]})", "holds something that is not a string"},
      {"tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "do_lower_case": "no"})",
       "key do_lower_case is a string where a boolean"},
      {"tokenizer_config.json", R"({"cls_token": 5})", "cls_token: is an integer where an object is due"},
      {"tokenizer_config.json", R"({"cls_token": {}})", "cls_token: key content is missing"},
      {"tokenizer_config.json", R"({"additional_special_tokens": "<x>"})", "is neither a list nor an object"},
      {"tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "<x>"}}})",
       "key \"x\" is no token id"},
      {"tokenizer_config.json", R"({"added_tokens_decoder": {"-1": {"content": "<x>"}}})",
       "key \"-1\" is no token id"},
      {"tokenizer_config.json", R"({"added_tokens_decoder": {"7": "<x>"}})",
       "7: is a string where an object is due"},
      {"special_tokens_map.json", R"({"cls_token": []})", "cls_token: is a list where an object is due"},
      {"added_tokens.json", R"({"<x>": "7"})", "key <x> is a string where an integer is due"},
      {"added_tokens.json", R"({"<x>": 14, "<y>": 14})",
       "key \"<y>\" has id 14, which another token has already"},
      {"config.json", R"({"model_type": 1})", "key model_type is an integer where a string is due"},
  };
  for (const auto& [file, content, message] : cases) {
    SCOPED_TRACE(content);
    const SmallTokenizer tokenizer;
    tokenizer.write();
    tokenizer.write(file, std::string(content));
    expect_error(tokenizer, ErrorCode::kFormat, file, message);
  }
}

}  // namespace
}  // namespace kvasir::tests
