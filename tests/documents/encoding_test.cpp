#include "documents/encoding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <iconv.h>

#include "base/utf8.h"
#include "kvasir/error.h"

namespace kvasir::documents {
namespace {

std::string encoded(const std::string& text, const char* encoding) {
  const iconv_t handle = ::iconv_open(encoding, "UTF-8");
  std::string out(text.size() * 4 + 4, '\0');
  char* from = const_cast<char*>(text.data());
  char* to = out.data();
  std::size_t left = text.size(), room = out.size();
  EXPECT_EQ(::iconv(handle, &from, &left, &to, &room), 0U) << encoding;
  ::iconv_close(handle);
  out.resize(out.size() - room);
  return out;
}

std::string error_of(const std::string& bytes) {
  try {
    return "read as " + detect_and_decode(bytes, "x.txt").encoding;
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(Encoding, TextsOfTheWorldAreRecognized) {
  const struct {
    const char* text;
    const char* encoding;
  } cases[] = {
      {"Der Leuchtturm wurde im Jahre 1811 für die Schiffe gebaut; er hieß früher „Höhe“, später "
       "Glückstürmchen.",
       "WINDOWS-1252"},
      {"Маяк был построен в 1811 году для защиты кораблей от скал у берегов Шотландии.", "WINDOWS-1251"},
      {"灯台は千八百十一年に建てられました。船を岩から守るためです。", "SHIFT_JIS"},
      {"灯台は千八百十一年に建てられました。船を岩から守るためです。", "EUC-JP"},
      {"灯塔建于一八一一年，为了保护船只不触礁。", "GB18030"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.encoding);
    Utf8Text decoded;
    ASSERT_NO_THROW(decoded = detect_and_decode(encoded(c.text, c.encoding), "x.txt"));
    EXPECT_EQ(decoded.text, c.text) << c.encoding << " taken for " << decoded.encoding;
  }
}

// What the system's converter lets through (a fuzzer's find): numbers above U+10FFFF in four bytes.
TEST(Encoding, NumbersThatAreNoCharactersAreReplaced) {
  for (const char* encoding : {"UTF-8", "UCS-4"}) {
    const std::string text = decode_lenient("ab\xf7\xbf\xbf\xbf", encoding);
    EXPECT_EQ(base::find_invalid_utf8(text), text.size()) << encoding;
  }
  EXPECT_EQ(decode_lenient("ab\xf4\x90\x80\x80 c", "UTF-8"), "ab\uFFFD\uFFFD\uFFFD\uFFFD c");
}

TEST(Encoding, Utf16AndUtf32) {
  const std::string text = "Built by Ruth Håkansson in 1811. 灯";
  EXPECT_EQ(detect_and_decode("\xff\xfe" + encoded(text, "UTF-16LE"), "x").text, text);
  EXPECT_EQ(detect_and_decode("\xfe\xff" + encoded(text, "UTF-16BE"), "x").text, text);
  EXPECT_EQ(detect_and_decode(std::string("\xff\xfe\0\0", 4) + encoded(text, "UTF-32LE"), "x").text, text);
  EXPECT_EQ(detect_and_decode(std::string("\0\0\xfe\xff", 4) + encoded(text, "UTF-32BE"), "x").text, text);
  EXPECT_EQ(detect_and_decode(encoded("Built in 1811.", "UTF-16LE"), "x").encoding, "UTF-16LE");
  EXPECT_EQ(detect_and_decode(encoded("Built in 1811.", "UTF-16BE"), "x").text, "Built in 1811.");
}

TEST(Encoding, Utf8StaysAsItIs) {
  const std::string text = "\xef\xbb\xbfÅ\r\n";  // its mark too: offsets count in the file
  EXPECT_EQ(detect_and_decode(text, "x").text, text);
}

TEST(Encoding, DamageIsNotAnotherEncoding) {
  EXPECT_EQ(error_of("Signed in Malm\xf6, Sweden.").find("x.txt: not UTF-8 at byte 14; convert it first"),
            0U);
  EXPECT_THAT(error_of("caf\xc3"), testing::HasSubstr("not UTF-8 at byte 3"));
  EXPECT_THAT(error_of("Håkan Åström äter \xe5\xe4\xf6"), testing::HasSubstr("not UTF-8 at byte 22"));
  std::string random;
  for (unsigned i = 1; i < 400; ++i) random += static_cast<char>(1 + i * 7919 % 255);
  EXPECT_THAT(error_of(random), testing::HasSubstr("not UTF-8"));
  EXPECT_THAT(error_of("\xff\xfe"
                       "a"),
              testing::HasSubstr("not UTF-8 at byte 0"));
}

TEST(Encoding, LenientDecodingReplaces) {
  EXPECT_EQ(decode_lenient("a\xff"
                           "b",
                           "UTF-8"),
            "a\uFFFD"
            "b");
  EXPECT_EQ(decode_lenient("caf\xe9", "no-such-encoding"), "café");
  EXPECT_EQ(decode_lenient("caf\xe9", "latin1"), "café");
}

}  // namespace
}  // namespace kvasir::documents
