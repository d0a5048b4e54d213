// Products with weights in the quants of GGUF (tensor/quants.h). Weights stay in the bits of the file, so
// decoding reads no more memory than the file has, and prefill multiplies bytes. Activations are rounded to
// signed bytes, with one scale for each 32 of a row.
//
//   y[i, j] = Σ_b x.scale[i, b] d[j, b] Σ_{k in b} x.data[i, k] q[j, k]  (+ minimum[j, b] x.sum[i, b])
//             + bias[j]
//
// The sums within a quant are exact integers; across quants they are added up in the order of k, in fp32 with
// fused multiply-adds. All instruction sets, the scalar twin included, give the same bits before the
// activation, whatever the batch.
//
//   QuantMatrix w = allocate_quants(tensor::DType::kQ4_K, n, k);
//   pack_quant_rows(file_rows, {0, n}, w);                            // once, at load
//   kernels.quantize({.x = x, .ldx = k, .rows = m, .columns = k}, rows);
//   gemm(kernels, pool, {.a = rows, .b = &w, .c = y, .ldc = n, .m = m});
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/fp32.h"
#include "kernels/int8.h"
#include "tensor/quants.h"

namespace kvasir::kernels {

// How a quant of a type is divided: into words of 4 bytes and, in types whose quant is not a whole number of
// words, the binary16 scale that remains.
struct QuantLayout {
  std::size_t elements = 0;  // per quant; 0: not a type of these products
  std::size_t words = 0;
  std::size_t words_at = 0;  // bytes before the words
  bool has_half = false;
  std::size_t half_at = 0;
};
constexpr QuantLayout quant_layout(tensor::DType dtype) noexcept {
  using tensor::DType;
  switch (dtype) {
    case DType::kQ4_0:
    case DType::kIQ4_NL:
      return {.elements = 32, .words = 4, .words_at = 2, .has_half = true};
    case DType::kQ4_1:
      return {.elements = 32, .words = 5};
    case DType::kQ5_0:
      return {.elements = 32, .words = 5, .words_at = 2, .has_half = true};
    case DType::kQ5_1:
      return {.elements = 32, .words = 6};
    case DType::kQ8_0:
      return {.elements = 32, .words = 8, .words_at = 2, .has_half = true};
    case DType::kQ2_K:
      return {.elements = 256, .words = 21};
    case DType::kQ3_K:
      return {.elements = 256, .words = 27, .has_half = true, .half_at = 108};
    case DType::kQ4_K:
      return {.elements = 256, .words = 36};
    case DType::kQ5_K:
      return {.elements = 256, .words = 44};
    case DType::kQ6_K:
      return {.elements = 256, .words = 52, .has_half = true, .half_at = 208};
    default:
      return {};
  }
}

// Whether there are products with weights of a type: true for all quants of GGUF that tensor::DType has.
constexpr bool is_quant_product(tensor::DType dtype) noexcept {
  return quant_layout(dtype).elements != 0;
}

// The weight W [n, k] of y = x Wᵀ + b. It is stored in ceil(n / 16) panels, each [k / elements] quants of 16
// columns. Their words lie as [words][16][4], so that one vector of 64 bytes has the same 4 bytes of 16
// columns; the binary16 scales (halves) lie apart, [16]. Packing changes the bits of two kinds of types: the
// bytes of Q8_0 have their highest bit flipped (value + 128: the unsigned operand of vpdpbusd), and the fifth
// bit of element 4 G + i of Q5_0 and Q5_1 becomes bit G of byte i. Columns beyond n are 0.
struct QuantMatrix {
  std::size_t n = 0;
  std::size_t k = 0;
  tensor::DType dtype = tensor::DType::kQ8_0;
  tensor::Buffer<std::uint8_t> data;
  tensor::Buffer<std::uint16_t> halves;

  QuantLayout layout() const noexcept { return quant_layout(dtype); }
  std::size_t panels() const noexcept { return (n + kPanelColumns - 1) / kPanelColumns; }
  std::size_t quants() const noexcept { return k / layout().elements; }  // of a row
  std::size_t panel_bytes() const noexcept { return quants() * layout().words * 4 * kPanelColumns; }
  std::size_t panel_halves() const noexcept { return layout().has_half ? quants() * kPanelColumns : 0; }
  const std::uint8_t* panel(std::size_t p) const noexcept { return data.data() + p * panel_bytes(); }
  const std::uint16_t* half_panel(std::size_t p) const noexcept { return halves.data() + p * panel_halves(); }
  std::size_t bytes() const noexcept { return data.size() + halves.size() * sizeof(std::uint16_t); }
};

// Activations with a smaller magnitude count as 0: their scale would not be a normal number.
inline constexpr float kLeastMagnitude = 1e-30F;

// Scale and sums of 32 neighbouring activations x ≈ scale · data.
struct RowQuant {
  float scale;
  float sum;               // scale · Σ data
  std::int16_t halves[2];  // Σ data of the first and of the last 16
};

// Rows of activations, bytes from -127 to 127.
struct QuantRows {
  std::int8_t* data = nullptr;
  RowQuant* quants = nullptr;
  std::size_t stride = 0;        // bytes between rows of data, a multiple of 64
  std::size_t quant_stride = 0;  // RowQuants between rows
};

// Memory for `rows` rows of k activations: how much, and the parts of it (64-byte aligned).
constexpr std::size_t quant_rows_bytes(std::size_t rows, std::size_t k) noexcept {
  return rows * (int8_stride(k) + k / tensor::kQuantElements * sizeof(RowQuant));
}
QuantRows quant_rows(std::byte* memory, std::size_t rows, std::size_t k) noexcept;

// As GemmCall.
struct QuantGemmCall {
  QuantRows a{};  // [m, b->k]
  const QuantMatrix* b = nullptr;
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
struct QuantKernels {
  // The number of columns is a multiple of 32. In each 32, the largest magnitude becomes 127: scale = largest
  // / 127, byte = round(x · (127 / largest)), with ties to even. The same bytes on every instruction set.
  // (NaN becomes -127; infinity as a scale stays infinity.)
  void (*quantize)(const QuantizeCall& call, const QuantRows& out) noexcept;
  // One block of a product. Blocks of one call may run on different threads at once.
  void (*gemm_block)(const QuantGemmCall& call, const GemmBlock& block) noexcept;
};

// Throws kUnsupported if the processor lacks `isa`. kAvx512 on a processor without VNNI has the kernels of
// kAvx2.
const QuantKernels& quant_kernels_for(base::Isa isa);

// Allocates only. Precondition: is_quant_product(dtype), n >= 1, k a multiple of the quant's elements.
QuantMatrix allocate_quants(tensor::DType dtype, std::size_t n, std::size_t k);
// Packs rows [begin, end) of W from the file's rows, row-major; begin is a multiple of kPanelColumns, and so
// is end, or it is n. Ranges that do not overlap may be packed at once.
void pack_quant_rows(const std::byte* rows, RowRange range, QuantMatrix& packed) noexcept;

// The whole product, cut into blocks and run on the pool.
void gemm(const QuantKernels& kernels, base::ThreadPool& pool, const QuantGemmCall& call);

// Bytes per second that `threads` cores together read from memory: a buffer far larger than the caches, from
// end to end, best of several runs. It is the ceiling of decoding.
double measure_bandwidth(int threads);

}  // namespace kvasir::kernels
