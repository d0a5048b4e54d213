// The scalar kernels: plain loops, the reference that the vector kernels are tested against. Contracts in
// kernels.h.
#pragma once

#include "kernels/bf16.h"
#include "kernels/blocks.h"
#include "kernels/int8.h"
#include "kernels/kernels.h"

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
void activate_gated(Activation activation, float* x, const float* gate, std::size_t count) noexcept;
void rotate(const RotateCall& call) noexcept;
bool all_finite(const float* x, std::size_t count) noexcept;
void convert_half(const void* half, float* out, std::size_t count) noexcept;
void quantize(const QuantizeCall& call, const Int8Rows& out) noexcept;
void gemm_block(const Int8GemmCall& call, const GemmBlock& block) noexcept;
void quantize(const QuantizeCall& call, const BlockRows& out) noexcept;
void gemm_block(const BlockGemmCall& call, const GemmBlock& block) noexcept;
void convert(const Bf16Convert& call) noexcept;
void gemm_block(const Bf16GemmCall& call, const GemmBlock& block) noexcept;

}  // namespace kvasir::kernels::scalar
