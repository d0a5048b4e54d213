#include "documents/encoding.h"

#include <iconv.h>
#include <uchardet/uchardet.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/utf8.h"
#include "kvasir/error.h"

namespace kvasir::documents {

namespace {

constexpr const char* kReplacement = "\uFFFD";
// Fewer bytes outside ASCII say nothing about the encoding.
constexpr std::size_t kMinOddBytes = 4;
// How much is shown to the statistics.
constexpr std::size_t kDetectorBytes = std::size_t{1} << 20;

class Converter {
 public:
  explicit Converter(const std::string& from) : handle_(::iconv_open("UTF-8", from.c_str())) {}
  ~Converter() {
    if (known()) ::iconv_close(handle_);
  }
  Converter(const Converter&) = delete;
  Converter& operator=(const Converter&) = delete;
  bool known() const noexcept { return handle_ != reinterpret_cast<iconv_t>(-1); }

  // Nothing if there are bytes that mean nothing, unless they are to be replaced.
  std::optional<std::string> run(std::string_view bytes, bool replace) {
    std::string out = convert(bytes, replace);
    if (failed_) return std::nullopt;
    // glibc lets numbers through that are no characters: those above U+10FFFF in UTF-8 and UCS-4.
    if (base::find_invalid_utf8(out) == out.size()) return out;
    if (!replace) return std::nullopt;
    return replace_invalid(out);
  }

 private:
  std::string convert(std::string_view bytes, bool replace) {
    std::string out;
    std::array<char, 16384> buffer;
    char* in = const_cast<char*>(bytes.data());  // iconv does not write to it
    std::size_t left = bytes.size();
    while (left > 0) {
      char* to = buffer.data();
      std::size_t room = buffer.size();
      const std::size_t status = ::iconv(handle_, &in, &left, &to, &room);
      const int error = errno;
      out.append(buffer.data(), static_cast<std::size_t>(to - buffer.data()));
      if (status != static_cast<std::size_t>(-1) || error == E2BIG) continue;
      if (!replace) {
        failed_ = true;
        break;
      }
      out += kReplacement;
      ++in, --left;
    }
    return out;
  }

  static std::string replace_invalid(std::string_view text) {
    std::string out;
    while (!text.empty()) {
      const std::size_t invalid = base::find_invalid_utf8(text);
      out += text.substr(0, invalid);
      if (invalid == text.size()) break;
      out += kReplacement;
      text.remove_prefix(invalid + 1);
    }
    return out;
  }

  iconv_t handle_;
  bool failed_ = false;
};

std::optional<std::string> decode(std::string_view bytes, const std::string& encoding) {
  Converter converter(encoding);
  return converter.known() ? converter.run(bytes, false) : std::nullopt;
}

struct ByteOrderMark {
  std::string_view bytes;
  const char* encoding;
};
// UTF-32 first: its mark begins with that of UTF-16.
constexpr std::array<ByteOrderMark, 4> kMarks = {{{std::string_view("\xff\xfe\0\0", 4), "UTF-32LE"},
                                                  {std::string_view("\0\0\xfe\xff", 4), "UTF-32BE"},
                                                  {"\xff\xfe", "UTF-16LE"},
                                                  {"\xfe\xff", "UTF-16BE"}}};

// UTF-16 without a mark, by its NULs: every second byte of Western text, and only there.
const char* utf16_by_nuls(std::string_view bytes) {
  const std::string_view probe = bytes.substr(0, 4096);
  if (probe.size() < 8 || bytes.size() % 2 != 0) return nullptr;
  std::size_t nuls[2] = {};
  for (std::size_t i = 0; i < probe.size(); ++i) nuls[i % 2] += probe[i] == '\0';
  const std::size_t half = probe.size() / 2;
  if (nuls[0] == 0 && nuls[1] * 2 > half) return "UTF-16LE";
  if (nuls[1] == 0 && nuls[0] * 2 > half) return "UTF-16BE";
  return nullptr;
}

// Whether characters are such as people write: no controls but white space.
bool is_plausible(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto [c, length] = base::decode_utf8(text, at);
    const bool control =
        c < 0x20 ? !(c == '\t' || c == '\n' || c == '\r' || c == '\f') : c >= 0x7F && c < 0xA0;
    if (control || c == 0xFFFD || (c >= 0xFFFE && (c & 0xFFFE) == 0xFFFE)) return false;
    at += length;
  }
  return true;
}

std::size_t odd_bytes(std::string_view bytes) {
  return static_cast<std::size_t>(
      std::ranges::count_if(bytes, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }));
}

// Whether most of the bytes outside ASCII are well-formed UTF-8: then the text is damaged, not in another
// encoding. (Some are by chance: Cyrillic and Chinese pairs may look so.)
bool is_mostly_utf8(std::string_view bytes) {
  std::size_t formed = 0, odd = 0;
  while (true) {
    const std::size_t invalid = base::find_invalid_utf8(bytes);
    formed += odd_bytes(bytes.substr(0, invalid));
    if (invalid == bytes.size()) break;
    ++odd;
    bytes.remove_prefix(invalid + 1);
  }
  return formed > odd;
}

std::string detector_says(std::string_view bytes) {
  uchardet_t detector = ::uchardet_new();
  const std::string_view part = bytes.substr(0, kDetectorBytes);
  std::string encoding;
  if (::uchardet_handle_data(detector, part.data(), part.size()) == 0) {
    ::uchardet_data_end(detector);
    encoding = ::uchardet_get_charset(detector);
  }
  ::uchardet_delete(detector);
  return encoding;
}

[[noreturn]] void refuse(std::string_view bytes, const std::string& name) {
  throw Error(ErrorCode::kInvalidArgument,
              name + ": not UTF-8 at byte " + std::to_string(base::find_invalid_utf8(bytes)) +
                  "; convert it first, for example: iconv -f WINDOWS-1252 -t UTF-8");
}

}  // namespace

Utf8Text detect_and_decode(std::string bytes, const std::string& name) {
  for (const ByteOrderMark& mark : kMarks) {
    if (!bytes.starts_with(mark.bytes)) continue;
    auto text = decode(std::string_view(bytes).substr(mark.bytes.size()), mark.encoding);
    if (!text) refuse(bytes, name);
    return {std::move(*text), mark.encoding};
  }
  if (const char* encoding = utf16_by_nuls(bytes)) {
    auto text = decode(bytes, encoding);
    if (text && is_plausible(*text)) return {std::move(*text), encoding};
  }
  if (base::find_invalid_utf8(bytes) == bytes.size()) return {std::move(bytes), "UTF-8"};
  if (odd_bytes(bytes) < kMinOddBytes || is_mostly_utf8(bytes)) refuse(bytes, name);
  std::string encoding = detector_says(bytes);
  if (encoding.empty() || encoding == "UTF-8" || encoding == "ASCII") refuse(bytes, name);
  if (encoding == "ISO-8859-1") encoding = "WINDOWS-1252";  // a superset in all that people write
  auto text = decode(bytes, encoding);
  if (!text || !is_plausible(*text)) refuse(bytes, name);
  return {std::move(*text), std::move(encoding)};
}

std::string decode_lenient(std::string_view bytes, const std::string& encoding) {
  Converter named(encoding);
  if (named.known()) return *named.run(bytes, true);
  return *Converter("WINDOWS-1252").run(bytes, true);
}

}  // namespace kvasir::documents
