// What the reference made of random strings under many settings of its parts (recorded by
// scripts/fuzz-tokenizer, which also compares as many as one likes).
#include <gtest/gtest.h>

#include <fstream>

#include "temporary_folder.h"
#include "token_case.h"

namespace kvasir::tests {
namespace {

using base::json::object;

// A tokenizer.json with parts of it replaced (added_tokens: appended to, model: its fields replaced).
object changed(const base::json::value& original, const object& setting) {
  object document = original.as_object();
  for (const auto& [key, value] : setting) {
    if (key == "added_tokens") {
      for (const auto& token : value.as_array()) document[key].as_array().push_back(token);
    } else if (key == "model") {
      for (const auto& [name, field] : value.as_object()) document[key].as_object()[name] = field;
    } else {
      document[key] = value;
    }
  }
  return document;
}

// The setting names the tokenizer that it changes (under tests/data), if it is not the file's.
void expect_groups(const std::string& name, std::size_t groups, std::size_t cases) {
  const auto folder = test_data("tokenizers/" + name);
  const auto file = base::parse_json_file(folder / "expected.json");
  ASSERT_EQ(file.at("groups").as_array().size(), groups);
  for (const auto& group : file.at("groups").as_array()) {
    object setting = group.at("setting").as_object();
    const std::string name_of_setting = base::json::serialize(setting);
    const auto original = setting.contains("base") ? test_data(text_of(setting.at("base")))
                                                   : folder / text_of(file.at("tokenizer_dir"));
    setting.erase("base");
    const TemporaryFolder changed_folder;
    std::ofstream(changed_folder / "tokenizer.json")
        << base::json::serialize(changed(base::parse_json_file(original / "tokenizer.json"), setting));
    const auto tokenizer = text::Tokenizer::load(changed_folder.path());
    ASSERT_EQ(group.at("cases").as_array().size(), cases);
    for (const auto& value : group.at("cases").as_array()) {
      SCOPED_TRACE(name_of_setting + ": " + base::json::serialize(value.at("text")));
      const std::string text = text_of(value.at("text"));
      const TokenCase expected = recorded(value.as_object());
      expect_same(ours(tokenizer.encode(text, text::Tokenizer::EncodeOptions{}), text, {}, expected),
                  expected);
    }
  }
}

TEST(RecordedStrings, PartsOfBert) {
  expect_groups("bert-random", 30, 10);
}

TEST(RecordedStrings, OtherKinds) {
  expect_groups("kinds-random", 39, 5);
}

}  // namespace
}  // namespace kvasir::tests
