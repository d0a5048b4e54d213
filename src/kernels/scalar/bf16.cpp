// The reference of products of bfloat16.
#include <algorithm>
#include <array>
#include <cassert>

#include "kernels/scalar/scalar.h"
#include "kernels/tables.h"
#include "tensor/dtype.h"

namespace kvasir::kernels {
namespace scalar {

void convert(const Bf16Convert& call) noexcept {
  const std::size_t stride = bf16_stride(call.columns);
  for (std::size_t r = 0; r < call.rows; ++r) {
    std::uint16_t* y = call.y + r * stride;
    for (std::size_t j = 0; j < call.columns; ++j) y[j] = tensor::float_to_bfloat16(call.x[r * call.ldx + j]);
    std::fill(y + call.columns, y + stride, std::uint16_t{0});
  }
}

void gemm_block(const Bf16GemmCall& call, const GemmBlock& block) noexcept {
  assert(block.row_begin < block.row_end && block.row_end <= call.m);
  assert(block.panel_begin < block.panel_end && block.panel_end <= call.b->panels());
  for (std::size_t p = block.panel_begin; p < block.panel_end; ++p) {
    const std::size_t first = p * kPanelColumns, columns = std::min(kPanelColumns, call.b->n - first);
    for (std::size_t row = block.row_begin; row < block.row_end; ++row) {
      std::array<float, kPanelColumns> sums{};
      for (std::size_t k = 0; k < call.b->k; ++k) {
        const float a = tensor::bfloat16_to_float(call.a[row * call.lda + k]);
        const std::uint16_t* group =
            call.b->panel(p) + k / kBf16Group * kBf16Group * kPanelColumns + k % kBf16Group;
        for (std::size_t j = 0; j < columns; ++j)
          sums[j] += a * tensor::bfloat16_to_float(group[j * kBf16Group]);
      }
      for (std::size_t j = 0; j < columns; ++j) sums[j] += call.bias == nullptr ? 0 : call.bias[first + j];
      activate(call.activation, sums.data(), columns);
      float* c = call.c_column(first) + row * call.ldc;
      for (std::size_t j = 0; j < columns; ++j) {
        c[j] = call.residual == nullptr ? sums[j] : sums[j] + call.residual[row * call.ldr + first + j];
      }
    }
  }
}

}  // namespace scalar

const IsaBf16Kernels& scalar_bf16_kernels() noexcept {
  static constexpr IsaBf16Kernels kKernels = {
      .table = {.convert = scalar::convert, .gemm_block = scalar::gemm_block, .attention = scalar::attention},
      .multiply_adds = nullptr};
  return kKernels;
}

}  // namespace kvasir::kernels
