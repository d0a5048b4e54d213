// What training needs besides the kernels of the forward pass: derivatives, transposes, and AdamW. The
// products of a backward pass are products of fp32.h; transposes bring their operands into its layouts.
//
// Sums over rows are chains in the order of the rows, so callers that divide rows into the same pieces get
// the same bits, whatever the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "kernels/fp32.h"

namespace kvasir::kernels {

// y[c, r] = x[r, c].
struct TransposeCall {
  const float* x = nullptr;  // [rows, columns], rows ldx floats apart
  std::size_t ldx = 0;
  std::size_t rows = 0, columns = 0;
  float* y = nullptr;  // [columns, rows], rows ldy floats apart; does not overlap x
  std::size_t ldy = 0;
};

// dx = dy · activation'(x), of count numbers.
struct ActivationBackwardCall {
  Activation activation = Activation::kNone;
  const float* x = nullptr;  // before the activation
  const float* dy = nullptr;
  float* dx = nullptr;  // may be dy
  std::size_t count = 0;
};

// Of y = activation(x) · gate: dx = dy · gate · activation'(x), dgate = dy · activation(x).
struct GatedBackwardCall {
  Activation activation = Activation::kNone;
  const float *x = nullptr, *gate = nullptr, *dy = nullptr;
  float *dx = nullptr, *dgate = nullptr;
  std::size_t count = 0;
};

// Of LayerNorm, y = x̂ · weight + bias with x̂ = (x - mean) r:
//   dx = r (g - mean(g) - x̂ mean(g x̂)), g = dy · weight;  dweight = Σ dy x̂;  dbias = Σ dy
// (Ba et al. 2016; torch's native_layer_norm_backward). Of RMSNorm the same without the means of x and g, of
// NoNorm dx = dy · weight and x in place of x̂.
struct NormBackwardCall {
  const float *x = nullptr, *dy = nullptr;     // [rows, columns]
  const float* weight = nullptr;               // [columns]
  float* dx = nullptr;                         // [rows, columns]; may be dy, if it is not added to
  bool accumulates = false;                    // whether dx is added to
  float *dweight = nullptr, *dbias = nullptr;  // [columns], added to; RMSNorm has no dbias
  std::size_t rows = 0, columns = 0;
  float epsilon = 0;
};

// Of p = softmax(s) along a row, with dp the gradient of p: ds = p · (dp - Σ p dp), over dp.
struct SoftmaxBackwardCall {
  const float* p = nullptr;
  float* dp = nullptr;
  std::size_t count = 0;
};

// sums[j] += Σ_r x[r, j].
struct RowSumsCall {
  const float* x = nullptr;  // [rows, columns], rows ldx floats apart
  std::size_t ldx = 0;
  std::size_t rows = 0, columns = 0;
  float* sums = nullptr;  // [columns]
};

// One step of AdamW as torch.optim.AdamW takes it (Loshchilov & Hutter 2019):
//   p ← p (1 - learning_rate · weight_decay)
//   m ← beta1 m + (1 - beta1) g;  v ← beta2 v + (1 - beta2) g²,  where g = gradient · gradient_scale
//   p ← p - learning_rate / (1 - beta1ᵗ) · m / (√v / √(1 - beta2ᵗ) + epsilon)
struct AdamWCall {
  float *p = nullptr, *m = nullptr, *v = nullptr;
  const float* gradient = nullptr;
  std::size_t count = 0;
  float gradient_scale = 1;
  float decay = 1;  // 1 - learning_rate · weight_decay
  float beta1 = 0.9F, beta2 = 0.999F;
  float step_size = 0;      // learning_rate / (1 - beta1ᵗ)
  float inverse_root2 = 1;  // 1 / √(1 - beta2ᵗ)
  float epsilon = 1e-8F;
};

// Which elements dropout sets to 0: those whose random number, a function of key and place, is below
// `threshold` of 2³². The others are multiplied by `scale`.
struct DropoutCall {
  float* x = nullptr;
  std::size_t count = 0;
  std::uint32_t key[2] = {0, 0};  // of the row
  std::uint32_t threshold = 0;    // p · 2³²
  float scale = 1;                // 1 / (1 - p)
};

struct BackwardKernels {
  void (*transpose)(const TransposeCall& call) noexcept;
  void (*activation)(const ActivationBackwardCall& call) noexcept;
  void (*gated)(const GatedBackwardCall& call) noexcept;
  void (*layer_norm)(const NormBackwardCall& call) noexcept;
  void (*no_norm)(const NormBackwardCall& call) noexcept;
  void (*rms_norm)(const NormBackwardCall& call) noexcept;
  void (*softmax)(const SoftmaxBackwardCall& call) noexcept;
  void (*add_rows)(const RowSumsCall& call) noexcept;
  // y += x · scale.
  void (*add_scaled)(const float* x, float scale, float* y, std::size_t count) noexcept;
  double (*sum_of_squares)(const float* x, std::size_t count) noexcept;
  void (*dropout)(const DropoutCall& call) noexcept;
  void (*adamw)(const AdamWCall& call) noexcept;
};

// Throws kUnsupported if the processor lacks `isa`.
const BackwardKernels& backward_kernels_for(base::Isa isa);

// The random number of a place, in 32 bits, for dropout: two rounds of a mixing function (lowbias32 of
// Wellons' hash-prospector, whose bias is 0.17 of the ideal's), each with a key of its own.
constexpr std::uint32_t mix_bits(std::uint32_t x) noexcept {
  x ^= x >> 16U;
  x *= 0x7FEB352DU;
  x ^= x >> 15U;
  x *= 0x846CA68BU;
  return x ^ x >> 16U;
}
constexpr std::uint32_t random_bits(const std::uint32_t (&key)[2], std::uint32_t place) noexcept {
  return mix_bits(mix_bits(place ^ key[0]) + key[1]);
}

}  // namespace kvasir::kernels
