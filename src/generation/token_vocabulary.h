// The bytes of all tokens of a tokenizer, sorted, so that tokens with the same beginning are visited
// together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace kvasir::generation {

class TokenVocabulary {
 public:
  explicit TokenVocabulary(const text::Tokenizer& tokenizer);
  // By id; special tokens have no bytes.
  explicit TokenVocabulary(const std::vector<std::string>& tokens);

  std::size_t size() const noexcept { return spans_.size(); }  // ids
  std::string_view bytes(std::int32_t id) const noexcept;      // "" for an id that does not exist
  // Whether there is a token of exactly this byte. A text can be written if all its bytes have one.
  bool has_byte(std::uint8_t byte) const noexcept { return has_byte_[byte]; }

  // Tokens that have bytes, sorted by them, with the number of bytes that each shares with the one before.
  struct Entry {
    std::int32_t id;
    std::uint32_t common;
  };
  std::span<const Entry> sorted() const noexcept { return sorted_; }

 private:
  struct Span {
    std::uint32_t offset, length;
  };
  std::string pool_;
  std::vector<Span> spans_;
  std::vector<Entry> sorted_;
  std::vector<bool> has_byte_;
};

}  // namespace kvasir::generation
