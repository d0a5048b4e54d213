// GPT-2's bytes as printable characters: 33-126, 161-172 and 174-255 stand for themselves, the others in
// order for U+0100 and on.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kvasir::text::byte_level {

inline constexpr char32_t kCharacters = 0x144;  // all of them are smaller

// The character of a byte, in UTF-8.
std::string_view character(std::uint8_t byte) noexcept;
char32_t code_point(std::uint8_t byte) noexcept;
// The byte that a character stands for; -1: none.
int byte_of(char32_t c) noexcept;
// The bytes that a token of such characters stands for; nullopt if it has another character.
std::optional<std::string> bytes_of(std::string_view token);

}  // namespace kvasir::text::byte_level
