// Where a tokeniser puts its tokens.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "text/encoding.h"

namespace kvasir::text {

class TokenSink {
 public:
  // Tokens of a text of text_bytes bytes go to out, which is empty.
  TokenSink(TokenizedText& out, std::size_t text_bytes) : out_(out), text_bytes_(text_bytes) {
    // English has 4.3 to 4.7 bytes per token of BERT's vocabulary.
    reserve(text_bytes / 4 + 8);
  }

  void next_word() noexcept { ++word_; }
  // A token of the current word.
  void add(std::int32_t id, ByteSpan span) {
    if (out_.ids.size() == capacity_) grow(span.end);
    out_.ids.push_back(id);
    out_.offsets.push_back(span);
    out_.word_ids.push_back(word_);
  }

 private:
  void reserve(std::size_t tokens) {
    out_.ids.reserve(tokens);
    out_.offsets.reserve(tokens);
    out_.word_ids.reserve(tokens);
    capacity_ = tokens;
  }
  // The rest of the text will be like what was seen of it, so a long text needs one or two more allocations
  // and leaves little unused (16 bytes a token: doubling would cost more than the text).
  void grow(std::size_t seen_bytes) {
    const std::size_t tokens = out_.ids.size();
    const double tokens_per_byte =
        static_cast<double>(tokens) / static_cast<double>(std::max<std::size_t>(seen_bytes, 1));
    const auto expected = static_cast<std::size_t>(tokens_per_byte * static_cast<double>(text_bytes_) * 1.03);
    reserve(std::max(expected, tokens + tokens / 8) + 16);
  }

  TokenizedText& out_;
  std::size_t text_bytes_;
  std::size_t capacity_ = 0;
  std::int32_t word_ = -1;
};

}  // namespace kvasir::text
