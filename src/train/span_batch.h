// Sequences with their answers, for one pass of training.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tensor/ragged_batch.h"
#include "train/span_loss.h"

namespace kvasir::train {

struct SpanBatch {
  std::vector<std::int32_t> input_ids, token_type_ids;       // [tokens]; the latter may be empty
  std::vector<std::int32_t> cu_seqlens = {0};                // [sequences + 1]
  std::vector<std::int32_t> key_lengths;                     // [sequences], or empty: no pads
  std::vector<std::int32_t> start_positions, end_positions;  // [sequences]
  std::vector<std::uint64_t> examples;                       // [sequences], or empty: see BackwardTape::Pass
  std::vector<float> teacher_start, teacher_end;             // [tokens], or empty

  std::size_t sequences() const noexcept { return cu_seqlens.size() - 1; }
  std::size_t tokens() const noexcept { return input_ids.size(); }
  tensor::RaggedBatch view() const noexcept {
    return {.input_ids = input_ids,
            .token_type_ids = token_type_ids,
            .cu_seqlens = cu_seqlens,
            .key_lengths = key_lengths};
  }
  SpanLabels labels() const noexcept { return {.start = start_positions, .end = end_positions}; }
};

}  // namespace kvasir::train
