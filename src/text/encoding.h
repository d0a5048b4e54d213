// The output of a tokenizer: token ids, and where in the text each token came from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::text {

// A half-open range of bytes of the original text. 32 bits: texts are limited to 1 GiB.
struct ByteSpan {
  std::uint32_t begin = 0, end = 0;
  friend bool operator==(const ByteSpan&, const ByteSpan&) = default;
};

// One text, tokenised once, without special tokens added by a template (special tokens that stood literally
// in the text are here). Structure of arrays; ids, offsets and word_ids have size() elements.
struct TokenizedText {
  std::vector<std::int32_t> ids;
  std::vector<ByteSpan> offsets;       // as the reference's offsets, in bytes
  std::vector<std::int32_t> word_ids;  // index of the pre-tokenised word, from 0; non-decreasing
  // The offsets of each token if it is the first of a slice, where they differ (byte-level tokenizers with
  // add_prefix_space); otherwise empty.
  std::vector<ByteSpan> first_offsets;

  std::size_t size() const noexcept { return ids.size(); }
};

// A sequence ready for a model: one or two texts in a template of special tokens.
struct Encoding {
  static constexpr std::int32_t kNone = -1;

  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> type_ids;
  std::vector<ByteSpan> offsets;           // special tokens of the template: {0, 0}
  std::vector<std::int32_t> word_ids;      // per sequence; kNone for special tokens of the template
  std::vector<std::int32_t> sequence_ids;  // 0 or 1; kNone for special tokens of the template

  std::size_t size() const noexcept { return ids.size(); }
};

// The part of the context in one window: tokens [begin, end) of its TokenizedText.
struct ContextSlice {
  std::size_t begin = 0, end = 0;
};

// Cuts `context_tokens` into slices when `room` of them fit beside the question. They start at multiples of
// room - stride; the last slice ends with the text and may be short. There is one slice if all tokens fit,
// also for 0 tokens. Throws kInvalidArgument if room == 0 ("too short …"), or stride >= room when the text
// overflows.
std::vector<ContextSlice> slice_context(std::size_t context_tokens, std::size_t room, std::size_t stride);

}  // namespace kvasir::text
