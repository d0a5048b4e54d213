#include "train/packing.h"

#include <algorithm>

namespace kvasir::train {

namespace {

constexpr std::size_t kPanel = kernels::kPanelColumns;

void resize(kernels::PackedMatrix& packed, std::size_t n, std::size_t k) {
  packed.n = n;
  packed.k = k;
  const std::size_t size = packed.panels() * kPanel * k;
  if (packed.data.size() < size) packed.data = tensor::Buffer<float>(size);
}

// Rows [begin, end) of each panel of columns.
void copy_columns(const MatrixRows& x, kernels::RowRange rows, kernels::PackedMatrix& packed) noexcept {
  for (std::size_t p = 0; p < packed.panels(); ++p) {
    const std::size_t first = p * kPanel, count = std::min(kPanel, x.columns - first);
    float* panel = packed.data.data() + first * x.rows;
    for (std::size_t row = rows.begin; row < rows.end; ++row) {
      const float* from = x.x + row * x.ldx + first;
      float* to = panel + row * kPanel;
      if (count == kPanel) {
        std::copy_n(from, kPanel, to);
      } else {
        std::fill(std::copy_n(from, count, to), to + kPanel, 0.0F);
      }
    }
  }
}

}  // namespace

float* at_least(tensor::Buffer<float>& buffer, std::size_t size) {
  if (buffer.size() < size) buffer = tensor::Buffer<float>(size);
  return buffer.data();
}

std::size_t padded_stride(std::size_t columns) noexcept {
  constexpr std::size_t kAlias = 4096 / sizeof(float);
  const std::size_t stride = (columns + kPanel - 1) / kPanel * kPanel;
  return stride % kAlias == 0 ? stride + kPanel : stride;
}

void pack_rows(const kernels::BackwardKernels& kernels, const MatrixRows& x, kernels::PackedMatrix& packed) {
  resize(packed, x.rows, x.columns);
  for (std::size_t p = 0; p < packed.panels(); ++p) {
    const std::size_t first = p * kPanel, count = std::min(kPanel, x.rows - first);
    float* panel = packed.data.data() + first * x.columns;
    if (count < kPanel) std::fill_n(panel, kPanel * x.columns, 0.0F);
    kernels.transpose({.x = x.x + first * x.ldx,
                       .ldx = x.ldx,
                       .rows = count,
                       .columns = x.columns,
                       .y = panel,
                       .ldy = kPanel});
  }
}

void pack_columns(base::ThreadPool& pool, const MatrixRows& x, kernels::PackedMatrix& packed) {
  resize(packed, x.columns, x.rows);
  constexpr std::size_t kTaskRows = 64;
  pool.parallel_for((x.rows + kTaskRows - 1) / kTaskRows, [&](std::size_t task, int) noexcept {
    copy_columns(x, {.begin = task * kTaskRows, .end = std::min(x.rows, (task + 1) * kTaskRows)}, packed);
  });
}

void pack_columns(const MatrixRows& x, kernels::PackedMatrix& packed) {
  resize(packed, x.columns, x.rows);
  copy_columns(x, {.begin = 0, .end = x.rows}, packed);
}

void transpose_packed(const kernels::BackwardKernels& kernels, base::ThreadPool& pool,
                      const kernels::PackedMatrix& weight, kernels::PackedMatrix& packed) {
  resize(packed, weight.k, weight.n);
  const std::size_t n = weight.n, k = weight.k;
  pool.parallel_for(packed.panels(), [&](std::size_t p, int) noexcept {
    const std::size_t first = p * kPanel, count = std::min(kPanel, k - first);
    float* panel = packed.data.data() + first * n;
    if (count < kPanel) std::fill_n(panel, kPanel * n, 0.0F);
    for (std::size_t row = 0; row < n; row += kPanel) {  // of the weight
      kernels.transpose({.x = weight.panel(row / kPanel) + first * kPanel,
                         .ldx = kPanel,
                         .rows = count,
                         .columns = std::min(kPanel, n - row),
                         .y = panel + row * kPanel,
                         .ldy = kPanel});
    }
  });
}

}  // namespace kvasir::train
