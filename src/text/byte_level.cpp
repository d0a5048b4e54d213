#include "text/byte_level.h"

#include "base/utf8.h"

namespace kvasir::text::byte_level {

namespace {

struct Tables {
  std::array<std::array<char, 2>, 256> utf8{};
  std::array<std::uint8_t, 256> lengths{};
  std::array<char32_t, 256> code_points{};
  std::array<std::int16_t, kCharacters> bytes{};

  Tables() {
    bytes.fill(-1);
    char32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
      const char32_t c = itself ? byte : next++;
      code_points[byte] = c;
      bytes[c] = static_cast<std::int16_t>(byte);
      std::string text;
      base::append_utf8(text, c);
      lengths[byte] = static_cast<std::uint8_t>(text.size());
      for (std::size_t i = 0; i < text.size(); ++i) utf8[byte][i] = text[i];
    }
  }
};

const Tables& tables() noexcept {
  static const Tables instance;
  return instance;
}

}  // namespace

std::string_view character(std::uint8_t byte) noexcept {
  return {tables().utf8[byte].data(), tables().lengths[byte]};
}

char32_t code_point(std::uint8_t byte) noexcept {
  return tables().code_points[byte];
}

int byte_of(char32_t c) noexcept {
  return c < kCharacters ? tables().bytes[c] : -1;
}

std::optional<std::string> bytes_of(std::string_view token) {
  std::string bytes;
  for (std::size_t at = 0; at < token.size();) {
    const base::CodePoint c = base::decode_utf8(token, at);
    const int byte = byte_of(c.value);
    if (byte < 0) return std::nullopt;
    bytes += static_cast<char>(byte);
    at += c.length;
  }
  return bytes;
}

}  // namespace kvasir::text::byte_level
