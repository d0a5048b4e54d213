// Products of bfloat16 with sums in fp32, on processors that have vdpbf16ps (AVX512_BF16: Cooper Lake, Zen 4
// and later): twice the multiply-adds of fp32, with 8 bits of precision instead of 24. Other processors use
// fp32.
//
// A bfloat16 is the upper half of a float, here a uint16, rounded to nearest even.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/fp32.h"

namespace kvasir::kernels {

inline constexpr std::size_t kBf16Group = 2;  // elements of one column that a multiply-add takes at once

// The weight W [n, k] of y = x Wᵀ + b, in ceil(n / 16) panels [ceil(k / 2)][16][2]; padded with zeros beyond
// n and k.
struct Bf16Matrix {
  std::size_t n = 0;
  std::size_t k = 0;
  tensor::Buffer<std::uint16_t> data;

  std::size_t panels() const noexcept { return (n + kPanelColumns - 1) / kPanelColumns; }
  std::size_t steps() const noexcept { return (k + kBf16Group - 1) / kBf16Group; }
  std::size_t panel_size() const noexcept { return steps() * kBf16Group * kPanelColumns; }  // elements
  const std::uint16_t* panel(std::size_t p) const noexcept { return data.data() + p * panel_size(); }
  std::size_t bytes() const noexcept { return data.size() * sizeof(std::uint16_t); }
};

// Elements between rows of k activations: whole vectors, and never a multiple of 4 KiB (see
// Gemm::kAliasBytes).
constexpr std::size_t bf16_stride(std::size_t k) noexcept {
  constexpr std::size_t kVector = tensor::kAlignment / sizeof(std::uint16_t);
  const std::size_t elements = (k + kVector - 1) / kVector * kVector;
  return elements * sizeof(std::uint16_t) % 4096 == 0 ? elements + kVector : elements;
}

struct Bf16Convert {
  const float* x = nullptr;  // [rows, columns], rows ldx floats apart
  std::size_t ldx = 0;
  std::uint16_t* y = nullptr;  // rows bf16_stride(columns) apart; zeros behind the columns
  std::size_t rows = 0, columns = 0;
};

// As GemmCall.
struct Bf16GemmCall {
  const std::uint16_t* a = nullptr;  // [m, b->k], rows lda elements apart, an even number of them readable
  std::size_t lda = 0;
  const Bf16Matrix* b = nullptr;
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
struct Bf16Kernels {
  void (*convert)(const Bf16Convert& call) noexcept;
  void (*gemm_block)(const Bf16GemmCall& call, const GemmBlock& block) noexcept;
  // As Fp32Kernels::attention, whose scratch it takes: queries, keys, values and weights are rounded to
  // bfloat16.
  void (*attention)(const AttentionCall& call, float* scratch) noexcept;
};

// Null if this processor has none for the instruction set. kScalar: the reference, which only tests use.
const Bf16Kernels* bf16_kernels_for(base::Isa isa);

// Allocates only; and packs rows [begin, end) of W, as pack_int8_rows.
Bf16Matrix allocate_bf16(std::size_t n, std::size_t k);
void pack_bf16_rows(const float* w, RowRange range, Bf16Matrix& packed) noexcept;

void gemm(const Bf16Kernels& kernels, base::ThreadPool& pool, const Bf16GemmCall& call);

// As measure_fma_ceiling; 0 if there are no kernels.
double measure_bf16_ceiling(base::Isa isa, int threads);

}  // namespace kvasir::kernels
