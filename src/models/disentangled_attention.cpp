#include "models/disentangled_attention.h"

#include <algorithm>
#include <cmath>

namespace kvasir::models {

namespace {

constexpr std::size_t kLine = tensor::kAlignment / sizeof(float);

// Floats between rows of products with the table: an odd number of cache lines, because p2c is read down a
// column, and lines a power of two apart share few cache sets.
std::size_t product_stride(const kernels::PackedMatrix& table) noexcept {
  return (table.panels() | 1) * kernels::kPanelColumns;
}
std::size_t bias_stride(const AttentionTask& task) noexcept {
  return (task.keys + kLine - 1) / kLine * kLine;
}

}  // namespace

std::size_t DistanceBuckets::row(std::ptrdiff_t query_minus_key) const noexcept {
  const auto half = static_cast<std::ptrdiff_t>(span());
  std::ptrdiff_t bucket = query_minus_key;
  const auto middle = static_cast<std::ptrdiff_t>(position_buckets / 2);
  const std::ptrdiff_t distance = std::abs(query_minus_key);
  if (position_buckets > 0 && distance > middle) {
    // Single distances up to the middle, then a logarithmic scale. In float, as the reference: the last digit
    // decides at the edge of a bucket.
    const auto mid = static_cast<double>(middle), end = static_cast<double>(max_relative_positions) - 1;
    const float place = std::log(static_cast<float>(distance) / static_cast<float>(mid)) /
                        std::log(static_cast<float>(end / mid)) * static_cast<float>(middle - 1);
    // Beyond the end it goes on growing; what is no number at all counts as far.
    const auto limit = static_cast<float>(half);
    const float log_bucket = std::ceil(place < limit ? std::max(place, -limit) : limit);
    bucket = middle + static_cast<std::ptrdiff_t>(log_bucket);
    if (query_minus_key < 0) bucket = -bucket;
  }
  return static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(bucket + half, 0, 2 * half - 1));
}

DistanceRows::DistanceRows(const DistanceBuckets& buckets, std::size_t longest)
    : longest_(longest), rows_(2 * longest - 1) {
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const auto distance = static_cast<std::ptrdiff_t>(longest - 1) - static_cast<std::ptrdiff_t>(i);
    rows_[i] = static_cast<std::uint32_t>(buckets.row(distance));
  }
}

std::size_t DisentangledBias::scratch_size(const AttentionTask& task) const noexcept {
  std::size_t size = task.queries * bias_stride(task);
  if (!distances_->keys.heads.empty())
    size += task.queries * product_stride(distances_->keys.heads[task.head]);
  if (!distances_->queries.heads.empty())
    size += task.keys * product_stride(distances_->queries.heads[task.head]);
  return size;
}

ScoreBias::Rows DisentangledBias::rows(const AttentionTask& task, const AttentionBuffers& buffers,
                                       float* scratch) const noexcept {
  const std::size_t first = task.query_offset(), last = first + task.queries - 1;
  const auto lowest = std::size_t{rows_->of_query(first)[task.keys - 1]};
  const auto highest = std::size_t{rows_->of_query(last)[0]};
  const float* q = buffers.query(task.query_begin, task.head);
  const float* k = buffers.key(task.key_begin, task.head);

  // The products of some rows of q or k with those distances of the table that occur.
  const auto multiply = [&](const kernels::PackedMatrix& table, const float* a, std::size_t count, float* c) {
    kernels_.fp32.gemm_block(
        {.a = a, .lda = buffers.stride(), .b = &table, .c = c, .ldc = product_stride(table), .m = count},
        {.row_begin = 0,
         .row_end = count,
         .panel_begin = lowest / kernels::kPanelColumns,
         .panel_end = highest / kernels::kPanelColumns + 1});
  };
  float *bias = scratch, *c2p = bias + task.queries * bias_stride(task), *p2c = c2p;
  std::size_t c2p_stride = 0, p2c_stride = 0;
  if (!distances_->keys.heads.empty()) {
    c2p_stride = product_stride(distances_->keys.heads[task.head]);
    multiply(distances_->keys.heads[task.head], q, task.queries, c2p);
    p2c = c2p + task.queries * c2p_stride;
  }
  if (!distances_->queries.heads.empty()) {
    p2c_stride = product_stride(distances_->queries.heads[task.head]);
    multiply(distances_->queries.heads[task.head], k, task.keys, p2c);
  }
  const auto fill = [&](const auto& term) {
    for (std::size_t i = 0; i < task.queries; ++i) {
      const std::uint32_t* row = rows_->of_query(first + i);
      float* out = bias + i * bias_stride(task);
      for (std::size_t j = 0; j < task.keys; ++j) out[j] = term(i, j, row[j]);
    }
  };
  if (c2p_stride > 0 && p2c_stride > 0) {
    fill([&](std::size_t i, std::size_t j, std::size_t row) {
      return c2p[i * c2p_stride + row] + p2c[j * p2c_stride + row];
    });
  } else if (c2p_stride > 0) {
    fill([&](std::size_t i, std::size_t, std::size_t row) { return c2p[i * c2p_stride + row]; });
  } else {
    fill([&](std::size_t, std::size_t j, std::size_t row) { return p2c[j * p2c_stride + row]; });
  }
  return {.data = bias, .stride = static_cast<std::ptrdiff_t>(bias_stride(task))};
}

// With s the gradient of a score: of q_i · K(δ), s K(δ) for q_i and s q_i for K(δ); first the s of one token
// are added up that share a row of the table.
void DisentangledBias::add_gradients(const AttentionTask& task, const AttentionBuffers& buffers,
                                     const Gradients& gradients) const {
  const std::size_t first = task.query_offset(), head_dim = buffers.head_dim;
  const auto lowest = std::size_t{rows_->of_query(first)[task.keys - 1]};
  const auto highest = std::size_t{rows_->of_query(first + task.queries - 1)[0]};
  std::vector<float> sums(highest + 1);
  // Of one token x, whose sums are complete, and of the rows of the table.
  const auto add = [&](const ProjectedDistances::Term& term, const float* x, float* dx) {
    const float* table = term.rows + task.head * head_dim;
    float* dtable = gradients.gradient(table);
    for (std::size_t row = lowest; row <= highest; ++row) {
      if (sums[row] == 0) continue;
      const float s = sums[row] * distances_->scale;
      kernels_.backward.add_scaled(table + row * term.stride, s, dx, head_dim);
      kernels_.backward.add_scaled(x, s, dtable + row * term.stride, head_dim);
      sums[row] = 0;
    }
  };
  if (!distances_->keys.heads.empty()) {
    for (std::size_t i = 0; i < task.queries; ++i) {
      const std::uint32_t* row = rows_->of_query(first + i);
      for (std::size_t j = 0; j < task.keys; ++j) sums[row[j]] += gradients.scores[i * gradients.stride + j];
      add(distances_->keys, buffers.query(task.query_begin + i, task.head),
          gradients.q + i * gradients.q_stride);
    }
  }
  if (!distances_->queries.heads.empty()) {
    for (std::size_t j = 0; j < task.keys; ++j) {
      for (std::size_t i = 0; i < task.queries; ++i) {
        sums[rows_->of_query(first + i)[j]] += gradients.scores[i * gradients.stride + j];
      }
      add(distances_->queries, buffers.key(task.key_begin + j, task.head),
          gradients.k + j * gradients.k_stride);
    }
  }
}

}  // namespace kvasir::models
