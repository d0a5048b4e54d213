// Text in encodings other than UTF-8.
#pragma once

#include <string>
#include <string_view>

#include "kvasir/convert.h"

namespace kvasir::documents {

struct Utf8Text {
  std::string text;
  std::string encoding;  // as iconv names it
};

// Keeps UTF-8 as it is (without its byte order mark). Otherwise the encoding is that of a byte order mark, of
// a pattern of NULs (UTF-16), or what the statistics of uchardet say. Throws kInvalidArgument, naming the
// first byte that is not UTF-8, if the encoding cannot be determined: fewer than four odd bytes, or odd bytes
// in a text that is mostly UTF-8, count as damage, not as another encoding.
Utf8Text detect_and_decode(std::string bytes, const std::string& name);

// For formats that name their encoding. What cannot be decoded becomes U+FFFD; an unknown encoding counts as
// WINDOWS-1252, as in browsers.
std::string decode_lenient(std::string_view bytes, const std::string& encoding);

}  // namespace kvasir::documents
