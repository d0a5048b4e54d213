// A tokenizer folder of a dozen tokens that a test can change before it loads it.
#pragma once

#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "temporary_folder.h"
#include "text/tokenizer.h"

namespace kvasir::tests {

class SmallTokenizer {
 public:
  SmallTokenizer() {
    const base::json::array vocabulary{"[PAD]", "[UNK]", "[CLS]",  "[SEP]", "[MASK]", "the",    "The",
                                       "river", "##s",   "\u00E9", "e",     "##e",    "\u4E2D", "foo"};
    base::json::object& vocab = json_["model"].as_object()["vocab"].as_object();
    for (std::size_t id = 0; id < vocabulary.size(); ++id) vocab[vocabulary[id].as_string()] = id;
    for (std::size_t id = 0; id < 5; ++id) add_token(id, text(vocabulary[id]), {{"special", true}});
  }

  // tokenizer.json, which write() writes.
  base::json::object& json() { return json_; }
  base::json::object& part(const char* name) { return json_[name].as_object(); }
  void add_token(std::size_t id, const std::string& content, const base::json::object& flags) {
    base::json::object token{{"id", id},        {"content", content}, {"single_word", false},
                             {"lstrip", false}, {"rstrip", false},    {"normalized", false},
                             {"special", false}};
    for (const auto& [key, value] : flags) token[key] = value;
    json_["added_tokens"].as_array().push_back(token);
  }
  std::vector<std::string> vocabulary() const {
    std::vector<std::string> tokens;
    for (const auto& [token, id] : json_.at("model").at("vocab").as_object()) tokens.emplace_back(token);
    return tokens;
  }

  void write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }
  void write(const std::string& name, const base::json::object& content) const {
    write(name, base::json::serialize(content));
  }
  void write_vocabulary() const {
    std::string lines;
    for (const std::string& token : vocabulary()) lines += token + "\n";
    write("vocab.txt", lines);
  }
  void write() const { write("tokenizer.json", json_); }

  text::Tokenizer load() const { return text::Tokenizer::load(folder_.path()); }
  std::string folder() const { return folder_.path().string(); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

 private:
  static std::string text(const base::json::value& value) { return std::string(value.as_string()); }

  TemporaryFolder folder_;
  base::json::object json_ = base::parse_json(R"({
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                   "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                 {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
      "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
               {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}},
               {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
      "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                         "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100, "vocab": {}}
  })",
                                              "small tokenizer")
                                 .as_object();
};

inline std::vector<std::string> token_texts(const text::Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::string> tokens;
  for (const std::int32_t id : tokenizer.tokenize(text).ids) tokens.emplace_back(tokenizer.token(id));
  return tokens;
}

}  // namespace kvasir::tests
