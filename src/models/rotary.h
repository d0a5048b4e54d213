// Rotary position embedding (Su et al. 2021): queries and keys are turned by angles that grow with the
// position, so that scores depend on distances.
#pragma once

#include <cstddef>

#include "models/forward_context.h"
#include "tensor/ragged_batch.h"

namespace kvasir::models {

struct RotaryOptions {
  double theta = 10'000;
  std::size_t head_dim = 0;   // even
  std::size_t positions = 0;  // [0, positions)
};
// Floats of a table: of each position head_dim / 2 cosines, then as many sines.
std::size_t rotary_table_size(const RotaryOptions& options) noexcept;
void fill_rotary_table(const RotaryOptions& options, base::ThreadPool& pool, float* table);

struct RotaryRows {
  const float* table = nullptr;
  float* x = nullptr;        // rows of [heads, head_dim], one per token of the batch
  std::size_t x_stride = 0;  // floats between rows
  std::size_t heads = 0, head_dim = 0;
};
// Positions count from 0 in each sequence.
void rotate(const tensor::RaggedBatch& batch, ForwardContext& context, const RotaryRows& rows);

}  // namespace kvasir::models
