// Collects the tokens of a text.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "text/encoding.h"
#include "text/post_processors/offset_trimmer.h"

namespace kvasir::text {

class TokenSink {
 public:
  // Tokens of `text` go to out, which is empty. If there is a trimmer, offsets go through it.
  explicit TokenSink(TokenizedText& out, std::string_view text, const OffsetTrimmer* trimmer = nullptr)
      : out_(out), text_(text), trimmer_(trimmer) {
    // English has 4.3 to 4.7 bytes per token of BERT's vocabulary.
    reserve(text.size() / 4 + 8);
  }

  void next_word() noexcept { ++word_; }
  // A token of the current word.
  void add(std::int32_t id, ByteSpan span) {
    if (trimmer_ != nullptr) {
      add_trimmed(id, trimmer_->trim(text_, span, id));
    } else {
      push(id, span);
    }
  }
  // An added token, which is a word of its own and appears in the text as `found`.
  void add_added(std::int32_t id, ByteSpan span, std::string_view found) {
    next_word();
    if (trimmer_ != nullptr) {
      add_trimmed(id, trimmer_->trim(text_, span, found));
    } else {
      push(id, span);
    }
  }

 private:
  void push(std::int32_t id, ByteSpan span) {
    if (out_.ids.size() == capacity_) grow(span.end);
    out_.ids.push_back(id);
    out_.offsets.push_back(span);
    out_.word_ids.push_back(word_);
  }
  void add_trimmed(std::int32_t id, const OffsetTrimmer::Trimmed& trimmed) {
    push(id, trimmed.span);
    if (trimmer_->keeps_first_space()) out_.first_offsets.push_back(trimmed.as_first);
  }
  void reserve(std::size_t tokens) {
    out_.ids.reserve(tokens);
    out_.offsets.reserve(tokens);
    out_.word_ids.reserve(tokens);
    capacity_ = tokens;
  }
  // Assumes that the rest of the text is like the part seen so far, so a long text needs one or two more
  // allocations and leaves little memory unused (at 16 bytes per token, doubling would cost more than the
  // text).
  void grow(std::size_t seen_bytes) {
    const std::size_t tokens = out_.ids.size();
    const double tokens_per_byte =
        static_cast<double>(tokens) / static_cast<double>(std::max<std::size_t>(seen_bytes, 1));
    const auto expected =
        static_cast<std::size_t>(tokens_per_byte * static_cast<double>(text_.size()) * 1.03);
    reserve(std::max(expected, tokens + tokens / 8) + 16);
  }

  TokenizedText& out_;
  std::string_view text_;
  const OffsetTrimmer* trimmer_;
  std::size_t capacity_ = 0;
  std::int32_t word_ = -1;
};

}  // namespace kvasir::text
