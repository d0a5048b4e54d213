// A batch of sequences without padding: their tokens one after the other, and where each begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace kvasir::tensor {

struct RaggedBatch {
  std::span<const std::int32_t> input_ids;       // [tokens]
  std::span<const std::int32_t> token_type_ids;  // [tokens], or empty = all 0
  std::span<const std::int32_t>
      cu_seqlens;  // [sequences + 1]: sequence i is tokens [cu_seqlens[i], cu_seqlens[i+1])
  // [sequences], or empty = all of each: only the first key_lengths[i] tokens of sequence i are attended to.
  // The rest are padding: no token attends to them, but their logits are computed, as in the reference's
  // padded batches (needed to reproduce run_qa, whose candidate lists include pads).
  std::span<const std::int32_t> key_lengths;
  // [sequences], or empty = none: the number of tokens at the beginning of each sequence that are left out of
  // sentence vectors.
  std::span<const std::int32_t> unpooled = {};
  // Ascending, or empty = all: the tokens whose logits are read. What only the other tokens need may be
  // skipped.
  std::span<const std::int32_t> wanted = {};

  std::size_t tokens() const noexcept { return input_ids.size(); }
  std::size_t sequences() const noexcept { return cu_seqlens.size() - 1; }
};

}  // namespace kvasir::tensor
