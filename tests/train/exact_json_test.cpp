#include "train/exact_json.h"

#include <gtest/gtest.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "kvasir/error.h"

namespace kvasir::train {
namespace {

std::string written(double value) {
  std::string out;
  append_number(value, out);
  return out;
}

std::string error_of(std::string_view text) {
  try {
    parse_exact_json(text, "f.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ExactJson, AnyNumberComesBack) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    const auto value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    const base::json::value read = parse_exact_json("[" + written(value) + "]", "f.json");
    ASSERT_EQ(read.as_array()[0].to_number<double>(), value) << written(value);
  }
}

TEST(ExactJson, NumbersAreWrittenAsPythonDoes) {
  EXPECT_EQ(written(0), "0.0");
  EXPECT_EQ(written(-0.0), "-0.0");
  EXPECT_EQ(written(5), "5.0");
  EXPECT_EQ(written(0.1 + 0.2), "0.30000000000000004");
  EXPECT_EQ(written(0.0001), "0.0001");
  EXPECT_EQ(written(0.00001), "1e-05");
  EXPECT_EQ(written(1e15), "1000000000000000.0");
  EXPECT_EQ(written(1.5e16), "1.5e+16");
  EXPECT_EQ(written(std::numeric_limits<double>::infinity()), "null");
  EXPECT_EQ(written(std::numeric_limits<double>::quiet_NaN()), "null");
}

TEST(ExactJson, ReadsAllKindsOfValues) {
  const std::string text =
      R"({"a":[1,-2,18446744073709551615,1.5e300,true,false,null],"b":{"c\n":"\u00e9\ud83d\ude00"}})";
  const base::json::value value = parse_exact_json(text, "f.json");
  EXPECT_EQ(base::json::serialize(value),
            "{\"a\":[1,-2,18446744073709551615,1.5E300,true,false,null],\"b\":{\"c\\n\":\"é😀\"}}");
  EXPECT_EQ(parse_exact_json(" 2.5 ", "f.json"), base::json::value(2.5));
}

TEST(ExactJson, ErrorsNameTheLine) {
  EXPECT_EQ(error_of("{\n\"a\": 1.5e}"), "f.json:2: not valid JSON: syntax error");
  EXPECT_EQ(error_of(""), "f.json:1: not valid JSON: incomplete JSON");
  EXPECT_EQ(error_of("{}\n\n{}"), "f.json:3: not valid JSON: something follows the end of the value");
  EXPECT_EQ(error_of(std::string(101, '[')), "f.json:1: not valid JSON: too deep");
  EXPECT_EQ(error_of(std::string(100, '[') + std::string(100, ']')), "");
}

TEST(ExactJson, NullIsNoNumber) {
  const base::json::value value = parse_exact_json(R"({"a":null,"b":2,"c":"x"})", "f.json");
  const base::JsonObject object(value, "f.json");
  EXPECT_TRUE(std::isnan(number_or_nan(object, "a")));
  EXPECT_EQ(number_or_nan(object, "b"), 2);
  EXPECT_THROW(number_or_nan(object, "c"), Error);
  EXPECT_THROW(number_or_nan(object, "d"), Error);
}

TEST(ExactJson, StringsAreEscaped) {
  std::string out;
  append_string("a\"\\\n\xFF", out);
  EXPECT_EQ(out, "\"a\\\"\\\\\\n\xEF\xBF\xBD\"");
}

}  // namespace
}  // namespace kvasir::train
