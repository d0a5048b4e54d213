#include "models/rotary.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace kvasir::models {

namespace {

constexpr std::size_t kRowsPerTask = 16;  // some microseconds of work

}  // namespace

std::size_t rotary_table_size(const RotaryOptions& options) noexcept {
  return options.positions * options.head_dim;
}

void fill_rotary_table(const RotaryOptions& options, base::ThreadPool& pool, float* table) {
  const std::size_t half = options.head_dim / 2;
  // In float, and rounded where the reference rounds: at position 8000 a digit of the frequency is 1e-3 of
  // the angle.
  std::vector<float> frequencies(half);
  for (std::size_t i = 0; i < half; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(options.head_dim);
    frequencies[i] = 1 / std::pow(static_cast<float>(options.theta), exponent);
  }
  pool.parallel_for((options.positions + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task,
                                                                               int) noexcept {
    const std::size_t begin = task * kRowsPerTask, end = std::min(begin + kRowsPerTask, options.positions);
    for (std::size_t position = begin; position < end; ++position) {
      float* row = table + position * options.head_dim;
      for (std::size_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(position) * frequencies[i];
        row[i] = std::cos(angle);
        row[half + i] = std::sin(angle);
      }
    }
  });
}

void rotate(const tensor::RaggedBatch& batch, ForwardContext& context, const RotaryRows& rows) {
  const std::size_t tokens = batch.tokens();
  context.pool.parallel_for((tokens + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task, int) noexcept {
    const std::size_t begin = task * kRowsPerTask, end = std::min(begin + kRowsPerTask, tokens);
    auto sequence = std::ranges::upper_bound(batch.cu_seqlens, static_cast<std::int32_t>(begin)) - 1;
    for (std::size_t token = begin; token < end; ++token) {
      while (static_cast<std::size_t>(sequence[1]) <= token) ++sequence;
      const float* angles = rows.table + (token - static_cast<std::size_t>(*sequence)) * rows.head_dim;
      context.kernels.fp32.rotate({.x = rows.x + token * rows.x_stride,
                                   .cos = angles,
                                   .sin = angles + rows.head_dim / 2,
                                   .heads = rows.heads,
                                   .head_dim = rows.head_dim});
    }
  });
}

}  // namespace kvasir::models
