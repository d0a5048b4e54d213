// Products of 8-bit integers: weights as signed bytes with a scale per output channel, activations as
// unsigned bytes with a scale and a zero point per token.
//
//   y[i, j] = a.scale[i] w.scale[j] (Σ_k a.data[i, k] w[j, k] - a.zero[i] Σ_k w[j, k]) + bias[j]
//
// The sums are exact integers, so they are the same on every instruction set, whatever the batch. On AVX2,
// whose vpmaddubsw saturates at 16 bits, a rule for weights keeps them exact: in each pair of neighbours (k =
// 0 1, 2 3, …) those of one sign add up to at most kMaxPairSum. Quantisation obeys the rule by choosing a
// larger scale (the largest weight of a row becomes 75 to 100 instead of 127).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/fp32.h"

namespace kvasir::kernels {

inline constexpr int kMaxActivation = 255;
// 255 · 128 = 32640 <= 32767.
inline constexpr int kMaxPairSum = 32767 / kMaxActivation;
// Bytes of one column that a multiply-add takes at once (vpdpbusd, vpmaddubsw + vpmaddwd, AMX), and those of
// two multiply-adds of AVX2 whose products are added up in 16 bits.
inline constexpr std::size_t kInt8Group = 4;
inline constexpr std::size_t kInt8Step = 2 * kInt8Group;

// The weight W [n, k] of y = x Wᵀ + b, in ceil(n / 16) panels [k / 4][16][4]; padded with zeros beyond n and
// k.
struct Int8Matrix {
  std::size_t n = 0;
  std::size_t k = 0;
  tensor::Buffer<std::int8_t> data;
  tensor::Buffer<float> scales;  // [panels · 16]
  tensor::Buffer<float> sums;    // [panels · 16]: Σ_k W[j, k], integers
  // [panels][steps]: 1 where the products of two groups of some column could exceed 16 bits when added up, so
  // that AVX2 has to widen each group.
  tensor::Buffer<std::uint8_t> wide;

  std::size_t panels() const noexcept { return (n + kPanelColumns - 1) / kPanelColumns; }
  std::size_t steps() const noexcept { return (k + kInt8Step - 1) / kInt8Step; }  // of kInt8Step of k
  std::size_t panel_bytes() const noexcept { return steps() * kInt8Step * kPanelColumns; }
  std::size_t bytes() const noexcept { return data.size() + (scales.size() + sums.size()) * sizeof(float); }
  const std::int8_t* panel(std::size_t p) const noexcept { return data.data() + p * panel_bytes(); }
  const std::uint8_t* panel_wide(std::size_t p) const noexcept { return wide.data() + p * steps(); }
};

// Rows of activations: x[i, j] ≈ scales[i] (data[i · stride + j] - zeros[i]).
struct Int8Rows {
  std::uint8_t* data = nullptr;
  float* scales = nullptr;
  float* zeros = nullptr;  // integers
  std::size_t stride = 0;  // bytes between rows, a multiple of 64
};

// Bytes between rows of k activations: whole vectors, and never a multiple of 4 KiB (see Gemm::kAliasBytes).
constexpr std::size_t int8_stride(std::size_t k) noexcept {
  const std::size_t bytes = (k + tensor::kAlignment - 1) / tensor::kAlignment * tensor::kAlignment;
  return bytes % 4096 == 0 ? bytes + tensor::kAlignment : bytes;
}
// Memory for `rows` rows of k activations: how much, and the parts of it (64-byte aligned).
constexpr std::size_t int8_rows_bytes(std::size_t rows, std::size_t k) noexcept {
  constexpr std::size_t kScaleAndZero = 2 * sizeof(float);
  return rows * (int8_stride(k) + kScaleAndZero);
}
Int8Rows int8_rows(std::byte* memory, std::size_t rows, std::size_t k) noexcept;

struct QuantizeCall {
  const float* x = nullptr;  // [rows, columns], rows ldx floats apart
  std::size_t ldx = 0, rows = 0, columns = 0;
};

// The GELU of these products: max(x, 0) - t Q(t) with t = min(|x|, 4) and Q this polynomial, lowest power
// first. Within 1.4e-4 of the exact form, a hundredth of the quantisation step of the next product's
// activations. The same bits on every instruction set.
inline constexpr float kRoughGeluEnd = 4;
inline constexpr float kRoughGeluTerms[] = {0.49667791F,  -0.37062284F, -0.08139470F,    0.17619248F,
                                            -0.07615506F, 0.01524088F,  -1.43973168e-3F, 4.87051948e-5F};

// As GemmCall.
struct Int8GemmCall {
  Int8Rows a{};  // [m, b->k]
  const Int8Matrix* b = nullptr;
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

// The kernels of one instruction set; see Fp32Kernels.
struct Int8Kernels {
  // Each row's range, made to include 0, is divided into 255 steps: scale = (max - min) / 255, zero =
  // round(-min / scale), byte = round(x / scale) + zero, with ties to even. The same bytes on every
  // instruction set. Bytes between columns and stride are undefined.
  void (*quantize)(const QuantizeCall& call, const Int8Rows& out) noexcept;
  // One block of a product. Blocks of one call may run on different threads at once.
  void (*gemm_block)(const Int8GemmCall& call, const GemmBlock& block) noexcept;
};

// Throws kUnsupported if the processor lacks `isa`. kAvx512 on a processor without VNNI has the kernels of
// kAvx2.
const Int8Kernels& int8_kernels_for(base::Isa isa);
// Whether this processor has vpdpbusd, with which int8 is fastest.
bool has_vnni() noexcept;

// Quantises one row of W [k]: q and the scale, which is returned (0 for a row of zeros). The scale is the
// smallest for which all |q| <= 127, the rule for pairs holds, and at most one in eight steps of a panel is
// wide (see Int8Matrix::wide).
float quantize_weights(std::span<const float> row, std::int8_t* q) noexcept;
// The same for a table, whose rows are not multiplied: without these rules, so a little more exact.
float quantize_table_row(std::span<const float> row, std::int8_t* q) noexcept;
// Whether a row of bytes obeys the rule for pairs and contains no -128.
bool keeps_pair_rule(std::span<const std::int8_t> row) noexcept;

// Allocates only; zero where no row will be written.
Int8Matrix allocate_int8(std::size_t n, std::size_t k);
// Packs rows [begin, end) of W, which obey the rule for pairs; begin is a multiple of kPanelColumns, and so
// is end, or it is n. w holds only those rows, row-major. Ranges that do not overlap may be packed at once.
void pack_int8_rows(const std::int8_t* w, const float* scales, RowRange range, Int8Matrix& packed) noexcept;
// Quantises and packs a whole matrix of floats, for tests and benchmarks.
Int8Matrix pack_int8(const float* w, std::size_t n, std::size_t k);

// The whole product, cut into blocks and run on the pool.
void gemm(const Int8Kernels& kernels, base::ThreadPool& pool, const Int8GemmCall& call);

// As measure_fma_ceiling: multiply-adds of bytes per second of a register-only loop of the instructions that
// the product of `isa` uses.
double measure_int8_ceiling(base::Isa isa, int threads);

}  // namespace kvasir::kernels
