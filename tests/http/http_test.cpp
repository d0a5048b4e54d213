// What addresses say. (Requests are tested where they are made: tests/hub, tests/remote.)
#include "http/http.h"

#include <gtest/gtest.h>

namespace kvasir::http {
namespace {

TEST(Http, Origins) {
  EXPECT_EQ(origin_of("https://Hub.example/x?y"), "https://hub.example");
  EXPECT_EQ(origin_of("https://hub.example:443/x"), "https://hub.example");
  EXPECT_EQ(origin_of("http://hub.example:8080"), "http://hub.example:8080");
  EXPECT_EQ(origin_of("http://hub.example@evil.example/"), "");
  EXPECT_EQ(origin_of("file:///etc/passwd"), "");
  EXPECT_EQ(resolve_location("https://hub.example/a/b", "/c"), "https://hub.example/c");
  EXPECT_EQ(resolve_location("https://hub.example/a/b", "//evil.example/c"), "https://evil.example/c");
  EXPECT_EQ(resolve_location("https://hub.example/a/b", "https://cdn.example/c"), "https://cdn.example/c");
}

}  // namespace
}  // namespace kvasir::http
