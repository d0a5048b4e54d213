#include "base/json.h"

#include <gtest/gtest.h>

#include "kvasir/error.h"

namespace kvasir::base {
namespace {

TEST(ParseJson, RefusesBytesThatAreNotUtf8UnlessToldOtherwise) {
  const std::string text = "{\"a\": \"x\xFF\"}";
  EXPECT_THROW(parse_json(text, "a.json"), Error);
  const json::value value = parse_json(text, "a.json", {.allow_invalid_utf8 = true});
  EXPECT_EQ(JsonObject(value, "a.json").string("a"), "x\xFF");
}

}  // namespace
}  // namespace kvasir::base
