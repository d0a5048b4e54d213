// Products of fp32 activations with weights that stay in 16 bits, IEEE binary16 or bfloat16: they read half
// as much memory as fp32. Each weight is widened where it is multiplied, which is exact, so results have the
// bits of the fp32 product of the widened weights.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/fp32.h"
#include "tensor/dtype.h"

namespace kvasir::kernels {

// The weight W [n, k] of y = x Wᵀ + b, in ceil(n / 16) panels [k][16]; columns beyond n are 0.
struct HalfMatrix {
  std::size_t n = 0;
  std::size_t k = 0;
  tensor::DType dtype = tensor::DType::kF16;  // or kBF16
  tensor::Buffer<std::uint16_t> data;

  std::size_t panels() const noexcept { return (n + kPanelColumns - 1) / kPanelColumns; }
  const std::uint16_t* panel(std::size_t p) const noexcept { return data.data() + p * k * kPanelColumns; }
  std::size_t bytes() const noexcept { return data.size() * sizeof(std::uint16_t); }
};

// As GemmCall.
struct HalfGemmCall {
  const float* a = nullptr;  // [m, b->k], rows lda floats apart
  std::size_t lda = 0;
  const HalfMatrix* b = nullptr;
  const float* bias = nullptr;
  Activation activation = Activation::kNone;
  const float* residual = nullptr;
  std::size_t ldr = 0;
  float* c = nullptr;
  std::size_t ldc = 0;
  std::size_t c_block = 0, c_block_stride = 0;
  std::size_t m = 0;

  float* c_column(std::size_t j) const noexcept {
    return c + (c_block == 0 ? j : j / c_block * c_block_stride + j % c_block);
  }
};

// See Fp32Kernels.
struct HalfKernels {
  void (*gemm_block)(const HalfGemmCall& call, const GemmBlock& block) noexcept;
};

// Throws kUnsupported if the processor lacks `isa`.
const HalfKernels& half_kernels_for(base::Isa isa);

// Allocates only; and packs rows [begin, end) of W from the file's rows, row-major, as pack_quant_rows.
HalfMatrix allocate_half(tensor::DType dtype, std::size_t n, std::size_t k);
void pack_half_rows(const std::byte* rows, RowRange range, HalfMatrix& packed) noexcept;
// Whether `count` numbers of 16 bits, at any address, are all finite.
bool half_all_finite(tensor::DType dtype, const std::byte* numbers, std::size_t count) noexcept;

void gemm(const HalfKernels& kernels, base::ThreadPool& pool, const HalfGemmCall& call);

}  // namespace kvasir::kernels
