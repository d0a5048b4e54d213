// What the reference made of random strings under 30 settings of its parts (recorded by
// scripts/fuzz-tokenizer, which also compares as many as one likes).
#include <gtest/gtest.h>

#include <fstream>

#include "temporary_folder.h"
#include "token_case.h"

namespace kvasir::tests {
namespace {

// A tokenizer.json with parts of it replaced (added_tokens: appended to, model: its fields replaced).
base::json::object changed(const base::json::value& original, const base::json::object& setting) {
  base::json::object document = original.as_object();
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

TEST(RecordedStrings, AllSettings) {
  const auto folder = test_data("tokenizers/bert-random");
  const auto file = base::parse_json_file(folder / "expected.json");
  const auto original = base::parse_json_file(folder / text_of(file.at("tokenizer_dir")) / "tokenizer.json");
  ASSERT_EQ(file.at("groups").as_array().size(), 30u);
  for (const auto& group : file.at("groups").as_array()) {
    const std::string setting = base::json::serialize(group.at("setting"));
    const TemporaryFolder changed_folder;
    std::ofstream(changed_folder / "tokenizer.json")
        << base::json::serialize(changed(original, group.at("setting").as_object()));
    const auto tokenizer = text::Tokenizer::load(changed_folder.path());
    ASSERT_EQ(group.at("cases").as_array().size(), 10u);
    for (const auto& value : group.at("cases").as_array()) {
      SCOPED_TRACE(setting + ": " + base::json::serialize(value.at("text")));
      const std::string text = text_of(value.at("text"));
      const TokenCase expected = recorded(value.as_object());
      expect_same(ours(tokenizer.encode(text, text::Tokenizer::EncodeOptions{}), text, {}, expected),
                  expected);
    }
  }
}

}  // namespace
}  // namespace kvasir::tests
