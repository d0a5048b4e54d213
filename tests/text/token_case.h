// A recorded tokenisation and its comparison with ours. Recorded offsets count code points, ours bytes.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/utf8.h"
#include "text/tokenizer.h"

namespace kvasir::tests {

struct TokenCase {
  std::vector<std::int32_t> ids;
  std::vector<std::vector<std::size_t>> offsets;  // code points
  std::vector<std::int32_t> word_ids;             // Encoding::kNone where the record has null
  std::vector<std::int32_t> type_ids, sequence_ids;

  friend bool operator==(const TokenCase&, const TokenCase&) = default;
};

inline std::vector<std::int32_t> integers(const base::json::value& list) {
  std::vector<std::int32_t> result;
  for (const auto& number : list.as_array()) {
    result.push_back(number.is_null() ? text::Encoding::kNone : number.to_number<std::int32_t>());
  }
  return result;
}

// Fields that the record does not have stay empty.
inline TokenCase recorded(const base::json::object& json) {
  TokenCase result;
  result.ids = integers(json.at(json.contains("ids") ? "ids" : "input_ids"));
  for (const auto& pair : json.at("offsets").as_array()) {
    result.offsets.push_back({pair.at(0).to_number<std::size_t>(), pair.at(1).to_number<std::size_t>()});
  }
  if (json.contains("word_ids")) result.word_ids = integers(json.at("word_ids"));
  if (json.contains("type_ids")) result.type_ids = integers(json.at("type_ids"));
  if (json.contains("token_type_ids")) result.type_ids = integers(json.at("token_type_ids"));
  if (json.contains("sequence_ids")) result.sequence_ids = integers(json.at("sequence_ids"));
  return result;
}

// What we make of it, with the fields that `like` has.
inline TokenCase ours(const text::Encoding& encoding, std::string_view first, std::string_view second,
                      const TokenCase& like) {
  const base::OffsetMap maps[] = {base::OffsetMap(first), base::OffsetMap(second)};
  TokenCase result;
  result.ids = encoding.ids;
  if (!like.word_ids.empty()) result.word_ids = encoding.word_ids;
  if (!like.type_ids.empty()) result.type_ids = encoding.type_ids;
  if (!like.sequence_ids.empty()) result.sequence_ids = encoding.sequence_ids;
  for (std::size_t i = 0; i < encoding.size(); ++i) {
    const base::OffsetMap& map = maps[encoding.sequence_ids[i] == 1 ? 1 : 0];
    result.offsets.push_back(
        {map.code_points(encoding.offsets[i].begin), map.code_points(encoding.offsets[i].end)});
  }
  return result;
}

inline void expect_same(const TokenCase& got, const TokenCase& expected) {
  EXPECT_EQ(got.ids, expected.ids);
  EXPECT_EQ(got.offsets, expected.offsets);
  EXPECT_EQ(got.word_ids, expected.word_ids);
  EXPECT_EQ(got.type_ids, expected.type_ids);
  EXPECT_EQ(got.sequence_ids, expected.sequence_ids);
}

inline std::filesystem::path test_data(const std::string& name) {
  return std::filesystem::path(KVASIR_TEST_DATA) / name;
}

inline std::string text_of(const base::json::value& value) {
  return std::string(value.as_string());
}

}  // namespace kvasir::tests
