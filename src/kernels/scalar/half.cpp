// The reference of products of floats with halves.
#include <algorithm>
#include <array>
#include <cassert>

#include "kernels/scalar/scalar.h"
#include "kernels/tables.h"
#include "tensor/dtype.h"

namespace kvasir::kernels {
namespace scalar {
namespace {

constexpr std::size_t kRows = 32;  // that share the widening of a column
using Sums = std::array<float, kRows>;

Sums sum_column(const HalfGemmCall& call, RowRange rows, std::size_t column) noexcept {
  const std::uint16_t* w = call.b->panel(column / kPanelColumns) + column % kPanelColumns;
  const bool half = call.b->dtype == tensor::DType::kF16;
  Sums sums{};
  for (std::size_t k = 0; k < call.b->k; ++k) {
    const std::uint16_t bits = w[k * kPanelColumns];
    const float weight = half ? tensor::half_to_float(bits) : tensor::bfloat16_to_float(bits);
    for (std::size_t row = rows.begin; row < rows.end; ++row)
      sums[row - rows.begin] += call.a[row * call.lda + k] * weight;
  }
  return sums;
}

}  // namespace

void gemm_block(const HalfGemmCall& call, const GemmBlock& block) noexcept {
  assert(block.row_begin < block.row_end && block.row_end <= call.m);
  assert(block.panel_begin < block.panel_end && block.panel_end <= call.b->panels());
  const std::size_t begin = block.panel_begin * kPanelColumns;
  const std::size_t end = std::min(call.b->n, block.panel_end * kPanelColumns);
  for (std::size_t row = block.row_begin; row < block.row_end; row += kRows) {
    const RowRange rows{row, std::min(row + kRows, block.row_end)};
    for (std::size_t column = begin; column < end; ++column) {
      Sums sums = sum_column(call, rows, column);
      finish_column(call, rows, column, sums.data());
    }
  }
}

}  // namespace scalar

const HalfKernels& scalar_half_kernels() noexcept {
  static constexpr HalfKernels kKernels = {.gemm_block = scalar::gemm_block};
  return kKernels;
}

}  // namespace kvasir::kernels
