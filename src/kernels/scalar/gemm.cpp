#include <algorithm>
#include <array>
#include <cassert>

#include "kernels/scalar/scalar.h"

namespace kvasir::kernels::scalar {

namespace {

// Rows whose sums are kept at once: 2 x 16 floats are what fits in the registers if the compiler vectorises
// the loops over j, as it may.
constexpr std::size_t kRows = 2;
using Sums = std::array<std::array<float, kPanelColumns>, kRows>;

// Sums of R rows of A with one panel, in the order of k.
template <std::size_t R>
void sum_panel(const GemmCall& call, std::size_t row, const float* panel, Sums& out) noexcept {
  Sums sums{};
  for (std::size_t kk = 0; kk < call.b->k; ++kk) {
    const float* weights = panel + kk * kPanelColumns;
    for (std::size_t r = 0; r < R; ++r) {
      const float a = call.a[(row + r) * call.lda + kk];
      for (std::size_t j = 0; j < kPanelColumns; ++j) sums[r][j] += a * weights[j];
    }
  }
  out = sums;
}

// What follows the sums of one row and panel: bias, activation, residual.
void finish(const GemmCall& call, std::size_t row, std::size_t column, float* sums) noexcept {
  const std::size_t columns = std::min(kPanelColumns, call.b->n - column);
  if (call.bias != nullptr) {
    for (std::size_t j = 0; j < columns; ++j) sums[j] += call.bias[column + j];
  }
  activate(call.activation, sums, columns);
  if (call.residual != nullptr) {
    for (std::size_t j = 0; j < columns; ++j) sums[j] += call.residual[row * call.ldr + column + j];
  }
  std::copy_n(sums, columns, call.c_column(column) + row * call.ldc);
}

}  // namespace

void gemm_block(const GemmCall& call, const GemmBlock& block) noexcept {
  assert(block.row_begin < block.row_end && block.row_end <= call.m);
  assert(block.panel_begin < block.panel_end && block.panel_end <= call.b->panels());
  Sums sums;
  for (std::size_t p = block.panel_begin; p < block.panel_end; ++p) {
    for (std::size_t row = block.row_begin; row < block.row_end; row += kRows) {
      const std::size_t rows = std::min(kRows, block.row_end - row);
      if (rows == kRows) {
        sum_panel<kRows>(call, row, call.b->panel(p), sums);
      } else {
        sum_panel<1>(call, row, call.b->panel(p), sums);
      }
      for (std::size_t r = 0; r < rows; ++r) finish(call, row + r, p * kPanelColumns, sums[r].data());
    }
  }
}

}  // namespace kvasir::kernels::scalar
