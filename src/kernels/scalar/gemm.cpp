#include <algorithm>
#include <array>
#include <cassert>

#include "kernels/scalar/scalar.h"

namespace kvasir::kernels::scalar {

namespace {

// Rows whose sums are kept at once: each loaded weight serves four of them.
constexpr std::size_t kRows = 4;

// Sums of `rows` rows of A with one panel, in the order of k.
void sum_panel(const GemmCall& call, std::size_t row, std::size_t rows, const float* panel,
               std::array<std::array<float, kPanelColumns>, kRows>& sums) noexcept {
  sums = {};
  for (std::size_t kk = 0; kk < call.b->k; ++kk) {
    const float* weights = panel + kk * kPanelColumns;
    for (std::size_t r = 0; r < rows; ++r) {
      const float a = call.a[(row + r) * call.lda + kk];
      for (std::size_t j = 0; j < kPanelColumns; ++j) sums[r][j] += a * weights[j];
    }
  }
}

}  // namespace

void gemm_block(const GemmCall& call, const GemmBlock& block) noexcept {
  assert(block.row_end <= call.m && block.panel_end <= call.b->panels());
  std::array<std::array<float, kPanelColumns>, kRows> sums;
  for (std::size_t p = block.panel_begin; p < block.panel_end; ++p) {
    const std::size_t column = p * kPanelColumns;
    const std::size_t columns = std::min(kPanelColumns, call.b->n - column);
    for (std::size_t row = block.row_begin; row < block.row_end; row += kRows) {
      const std::size_t rows = std::min(kRows, block.row_end - row);
      sum_panel(call, row, rows, call.b->panel(p), sums);
      for (std::size_t r = 0; r < rows; ++r) {
        float* c = call.c + (row + r) * call.ldc + column;
        const float* residual =
            call.residual == nullptr ? nullptr : call.residual + (row + r) * call.ldr + column;
        if (call.bias != nullptr) {
          for (std::size_t j = 0; j < columns; ++j) sums[r][j] += call.bias[column + j];
        }
        activate(call.activation, sums[r].data(), columns);
        for (std::size_t j = 0; j < columns; ++j) {
          c[j] = residual == nullptr ? sums[r][j] : sums[r][j] + residual[j];
        }
      }
    }
  }
}

}  // namespace kvasir::kernels::scalar
