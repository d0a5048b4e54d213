// Kernels of single precision, and the structs that products of every precision share.
//
// Every kernel has a scalar twin (src/kernels/scalar) and one conformance test over shapes, tails and
// misalignment. Results do not depend on how rows are grouped into tiles or handed to threads: each output
// element is one chain of fused multiply-adds in the order of k. (The scalar kernels round each product, so
// they agree with the vector ones to rounding, not bit by bit.)
//
// All functions in the table are noexcept with preconditions in their comments, which debug builds assert.
#pragma once

#include <cstddef>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "kernels/kv_page.h"
#include "tensor/buffer.h"

namespace kvasir::kernels {

// Columns per panel of a packed matrix: two AVX2 vectors or one AVX-512 vector; kernels may take two panels
// at a time.
inline constexpr std::size_t kPanelColumns = 16;

// The weight W [n, k] of y = x Wᵀ + b, stored as ceil(n / 16) panels [k][16], the last one padded with zeros.
struct PackedMatrix {
  std::size_t n = 0;  // output features (columns of the product)
  std::size_t k = 0;  // input features
  tensor::Buffer<float> data;

  std::size_t panels() const noexcept { return (n + kPanelColumns - 1) / kPanelColumns; }
  const float* panel(std::size_t p) const noexcept { return data.data() + p * k * kPanelColumns; }
  std::size_t bytes() const noexcept { return data.size() * sizeof(float); }
};

struct RowRange {
  std::size_t begin, end;
};

enum class Activation {
  kNone,
  kGelu,
  kGeluTanh,
  kRelu,
  kSilu
};  // kGelu: x/2 (1 + erf(x/√2)), as Hugging Face's "gelu"; kSilu: x / (1 + e^-x)

// c[i, j] = activation(Σ_k a[i, k] W[j, k] + bias[j]) + residual[i, j], for i < m, j < b->n.
struct GemmCall {
  const float* a = nullptr;  // [m, b->k], rows lda floats apart
  std::size_t lda = 0;
  const PackedMatrix* b = nullptr;
  const float* bias = nullptr;  // [n], or null
  Activation activation = Activation::kNone;
  const float* residual = nullptr;  // [m, n], rows ldr floats apart, or null; may be c itself
  std::size_t ldr = 0;
  float* c = nullptr;  // [m, n], rows ldc floats apart; does not overlap a
  std::size_t ldc = 0;
  // If not 0, c is several matrices [m, c_block] that lie c_block_stride floats apart; c_block is a multiple
  // of kPanelColumns.
  std::size_t c_block = 0, c_block_stride = 0;
  std::size_t m = 0;

  float* c_column(std::size_t j) const noexcept {
    return c + (c_block == 0 ? j : j / c_block * c_block_stride + j % c_block);
  }
};

inline constexpr std::size_t kNoPanel = std::size_t{1} << 62;  // past the last of any matrix

// The part of a GemmCall that one task computes: rows [row_begin, row_end), panels [panel_begin, panel_end).
struct GemmBlock {
  std::size_t row_begin, row_end, panel_begin, panel_end;
  // The panel that this thread will probably need next, to be prefetched.
  std::size_t next_panel = kNoPanel;
};

inline constexpr std::size_t kNoWindow = std::size_t{1} << 62;  // wider than any sequence

// softmax(q kᵀ · scale + bias) v for some queries of one sequence, in one head or in several heads that share
// keys and values.
struct AttentionCall {
  const float* q = nullptr;  // first query of this call: group · head_dim floats, q_stride apart
  const float* k = nullptr;  // first key row of the sequence, for this head
  const float* v = nullptr;
  const KvPages* pages = nullptr;                           // instead of k and v, if not null
  float* out = nullptr;                                     // of the first query, as q
  std::size_t q_stride = 0, kv_stride = 0, out_stride = 0;  // floats between rows
  std::size_t queries = 0, keys = 0, head_dim = 0;          // all >= 1
  std::size_t group = 1;                                    // heads, side by side in q and out
  float scale = 1;                                          // 1 / √head_dim for BERT
  // bias[h · bias_head_stride + i · bias_stride + j] is added to the scaled score of query i and key j in
  // head h of the group, if not null. With a stride of -1, one array of distances serves all queries.
  const float* bias = nullptr;
  std::ptrdiff_t bias_stride = 0, bias_head_stride = 0;
  // Query i, which stands at key i + query_offset, sees the keys up to `window` positions to either side: at
  // least one key.
  std::size_t window = kNoWindow;
  std::size_t query_offset = 0;
  bool causal = false;  // and no key after its own position

  // One row for each head of each query.
  std::size_t rows() const noexcept { return queries * group; }
  const float* q_row(std::size_t row) const noexcept {
    return q + row / group * q_stride + row % group * head_dim;
  }
  float* out_row(std::size_t row) const noexcept {
    return out + row / group * out_stride + row % group * head_dim;
  }
  const float* bias_row(std::size_t row) const noexcept {
    return bias + static_cast<std::ptrdiff_t>(row / group) * bias_stride +
           static_cast<std::ptrdiff_t>(row % group) * bias_head_stride;
  }
};

struct LayerNormCall {
  const float* x = nullptr;       // [rows, columns], contiguous
  const float* weight = nullptr;  // [columns]
  const float* bias = nullptr;    // [columns]
  float* y = nullptr;             // [rows, columns]; may be x
  std::size_t rows = 0, columns = 0;
  float epsilon = 1e-12f;
};

// As LayerNormCall, without mean and bias.
struct RmsNormCall {
  const float* x = nullptr;
  const float* weight = nullptr;
  float* y = nullptr;  // may be x
  std::size_t rows = 0, columns = 0;
  float epsilon = 1e-5f;
};

// Rotary position embedding of the heads of one token: (a, b), the two halves of a head, become
// (a cos - b sin, b cos + a sin).
struct RotateCall {
  float* x = nullptr;          // [heads, head_dim], in place
  const float* cos = nullptr;  // [head_dim / 2], of the token's position
  const float* sin = nullptr;
  std::size_t heads = 0, head_dim = 0;  // head_dim is even
};

// Sums of exponentials over the logits of a whole vocabulary.
struct SumExpCall {
  const float* x = nullptr;
  std::size_t count = 0;
  float max = 0;  // of x
  float scale = 1;
  float* exps = nullptr;  // [count], if not null: exp((x - max) · scale) of each

  // Sums are kept in single precision, in 16 interleaved chains, over kStretch numbers, and then added up in
  // double. In a stretch each chain adds up 64 numbers, which loses at most 2 of 23 bits.
  static constexpr std::size_t kSums = 16, kStretch = 64 * kSums;
};

struct Fp32Kernels {
  // Packs rows [begin, end) of W from w, which holds only those rows. begin is a multiple of kPanelColumns;
  // so is end, or it is n. Ranges that do not overlap may be packed at once.
  void (*pack_rows)(const float* w, RowRange range, PackedMatrix& packed) noexcept;

  // One block of a product. Blocks of one call may run on different threads at once.
  void (*gemm_block)(const GemmCall& call, const GemmBlock& block) noexcept;

  // scratch: at least attention_scratch(call.rows(), call.keys, call.head_dim) floats, 64-byte aligned, one
  // per thread.
  void (*attention)(const AttentionCall& call, float* scratch) noexcept;
  std::size_t (*attention_scratch)(std::size_t rows, std::size_t keys, std::size_t head_dim) noexcept;
  // Stores one token's key and value in its page.
  void (*store_kv)(const KvStoreCall& call) noexcept;

  // y = (x - mean) / √(variance + epsilon) · weight + bias per row; variance is the mean of squared
  // deviations (biased), as torch.nn.LayerNorm.
  void (*layer_norm)(const LayerNormCall& call) noexcept;
  // y = x · weight + bias per row: MobileBERT's NoNorm. epsilon is not used.
  void (*no_norm)(const LayerNormCall& call) noexcept;
  // y = x / √(mean of x² + epsilon) · weight per row: Llama's RMSNorm.
  void (*rms_norm)(const RmsNormCall& call) noexcept;

  // In place. The vector forms agree with double-precision erf/exp to 4e-7 relative or 1e-7 absolute,
  // whichever is larger.
  void (*activate)(Activation activation, float* x, std::size_t count) noexcept;
  void (*softmax)(float* x, std::size_t count) noexcept;  // over one row; -inf gives 0; count >= 1
  // The largest of count >= 1 numbers, without NaN.
  float (*maximum)(const float* x, std::size_t count) noexcept;
  // Σ exp((x - max) · scale), each with a relative error below 2e-7, 0 below -87.3. The same bits on every
  // instruction set. NaN in x gives NaN.
  double (*sum_exp)(const SumExpCall& call) noexcept;
  // x := activation(x) · gate, as activate: gated linear units.
  void (*activate_gated)(Activation activation, float* x, const float* gate, std::size_t count) noexcept;
  void (*rotate)(const RotateCall& call) noexcept;

  // True if all are finite. (Weights are checked once, when they are packed or mapped.)
  bool (*all_finite)(const float* x, std::size_t count) noexcept;
  // IEEE binary16 to float.
  void (*convert_half)(const void* half, float* out, std::size_t count) noexcept;
};

// Throws kUnsupported if the processor lacks `isa`.
const Fp32Kernels& fp32_kernels_for(base::Isa isa);

// Packs row-major floats w [n, k]; n and k >= 1.
PackedMatrix pack(const Fp32Kernels& kernels, const float* w, std::size_t n, std::size_t k);
// Allocates only, contents undefined: for loaders that read a weight piece by piece and on several threads
// (see Fp32Kernels::pack_rows).
PackedMatrix allocate_packed(std::size_t n, std::size_t k);

// The whole product, cut into blocks (by rows and columns, so that one question uses every core) and run on
// the pool.
void gemm(const Fp32Kernels& kernels, base::ThreadPool& pool, const GemmCall& call);

// The ceiling that kernels are compared with: multiply-adds per second of a register-only loop over the
// widest fp32 FMA of `isa`, best of several runs, over `threads` cores together. (kScalar: multiplications,
// then additions, in the vectors of four that the compiler makes of plain loops.)
double measure_fma_ceiling(base::Isa isa, int threads);

}  // namespace kvasir::kernels
