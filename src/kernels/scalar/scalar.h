// The scalar kernels: plain loops, the reference that the vector kernels are tested against. Contracts in
// kernels.h.
#pragma once

#include "kernels/bf16.h"
#include "kernels/fp32.h"
#include "kernels/half.h"
#include "kernels/int8.h"
#include "kernels/quants.h"

namespace kvasir::kernels::scalar {

void pack_rows(const float* w, RowRange range, PackedMatrix& packed) noexcept;
void gemm_block(const GemmCall& call, const GemmBlock& block) noexcept;
void attention(const AttentionCall& call, float* scratch) noexcept;
std::size_t attention_scratch(std::size_t rows, std::size_t keys, std::size_t head_dim) noexcept;
void store_kv(const KvStoreCall& call) noexcept;
void layer_norm(const LayerNormCall& call) noexcept;
void no_norm(const LayerNormCall& call) noexcept;
void rms_norm(const RmsNormCall& call) noexcept;
void activate(Activation activation, float* x, std::size_t count) noexcept;
void softmax(float* x, std::size_t count) noexcept;
float maximum(const float* x, std::size_t count) noexcept;
double sum_exp(const SumExpCall& call) noexcept;
void activate_gated(Activation activation, float* x, const float* gate, std::size_t count) noexcept;
void rotate(const RotateCall& call) noexcept;
bool all_finite(const float* x, std::size_t count) noexcept;
void convert_half(const void* half, float* out, std::size_t count) noexcept;
void quantize(const QuantizeCall& call, const Int8Rows& out) noexcept;
void gemm_block(const Int8GemmCall& call, const GemmBlock& block) noexcept;
void quantize(const QuantizeCall& call, const QuantRows& out) noexcept;
void gemm_block(const QuantGemmCall& call, const GemmBlock& block) noexcept;
void convert(const Bf16Convert& call) noexcept;
void gemm_block(const Bf16GemmCall& call, const GemmBlock& block) noexcept;

void gemm_block(const HalfGemmCall& call, const GemmBlock& block) noexcept;

// What follows the sums of some rows with one column: bias, activation, residual.
template <class Call>
void finish_column(const Call& call, RowRange rows, std::size_t column, float* sums) noexcept {
  const std::size_t count = rows.end - rows.begin;
  for (std::size_t r = 0; r < count; ++r) sums[r] += call.bias == nullptr ? 0 : call.bias[column];
  activate(call.activation, sums, count);
  for (std::size_t r = 0; r < count; ++r) {
    const std::size_t row = rows.begin + r;
    const float residual = call.residual == nullptr ? 0 : call.residual[row * call.ldr + column];
    call.c_column(column)[row * call.ldc] = sums[r] + residual;
  }
}

}  // namespace kvasir::kernels::scalar
