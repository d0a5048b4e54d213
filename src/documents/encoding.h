// Text in other encodings than UTF-8.
#pragma once

#include <string>
#include <string_view>

#include "kvasir/convert.h"

namespace kvasir::documents {

struct Utf8Text {
  std::string text;
  std::string encoding;  // as iconv names it
};

// UTF-8 as it is (without its byte order mark), otherwise what a byte order mark, a pattern of NULs (UTF-16)
// or the statistics of uchardet say. Throws kInvalidArgument, naming the first byte that is not UTF-8, if the
// encoding cannot be told: fewer than four odd bytes are taken for damage, not for another encoding, and so
// is a text that is mostly UTF-8.
Utf8Text detect_and_decode(std::string bytes, const std::string& name);

// For formats that name their encoding themselves. What cannot be decoded becomes U+FFFD; an encoding
// that nobody knows counts as WINDOWS-1252, as in browsers.
std::string decode_lenient(std::string_view bytes, const std::string& encoding);

}  // namespace kvasir::documents
