#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numbers>

#include "kernels/scalar/scalar.h"

namespace kvasir::kernels::scalar {

namespace {

// x Φ(x); erfc rather than 1 + erf, which loses all digits for x < -5.
float gelu(float x) {
  return 0.5F * x * std::erfc(x * -(1 / std::numbers::sqrt2_v<float>));
}

// The approximation of the GELU paper (Hendrycks & Gimpel 2016), Hugging Face's "gelu_new":
// x/2 (1 + tanh u) = x / (1 + e^-2u).
float gelu_tanh(float x) {
  const float u = std::sqrt(2 * std::numbers::inv_pi_v<float>) * (x + 0.044715F * x * x * x);
  return x / (1 + std::exp(-2 * u));
}

// IEEE binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits.
float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t rest = half & 0x7FFFU;
  std::uint32_t bits;
  if (rest >= 0x7C00U) {  // infinite, or NaN (made quiet, as vcvtph2ps does)
    bits = 0x7F800000U | (rest & 0x3FFU) << 13 | (rest > 0x7C00U ? 0x400000U : 0U);
  } else if (rest >= 0x400U) {
    bits = (rest << 13) + (std::uint32_t{127 - 15} << 23);
  } else {  // subnormal: units of 2^-24, exact in float
    bits = std::bit_cast<std::uint32_t>(static_cast<float>(rest) * 0x1p-24F);
  }
  return std::bit_cast<float>(bits | sign);
}

// The steps of exp<S> in vector/math.h, for the same bits.
float exp_in_steps(float x) {
  constexpr float kLow = -87.3F;
  if (x < kLow) return 0;
  const float clamped = x > 88 ? 88 : x;
  const float n = std::nearbyint(clamped * 1.44269504F);
  float r = std::fma(n, -0.693359375F, clamped);
  r = std::fma(n, 2.12194440e-4F, r);
  float q = 0.00138143206F;
  for (const float c : {0.00836885115F, 0.04166840109F, 0.16666519523F, 0.49999993373F})
    q = std::fma(q, r, c);
  const float y = std::fma(r * r, q, r) + 1;
  return std::isnan(x) ? x : std::ldexp(y, static_cast<int>(n));
}

}  // namespace

void activate(Activation activation, float* x, std::size_t count) noexcept {
  switch (activation) {
    case Activation::kNone:
      break;
    case Activation::kGelu:
      for (std::size_t i = 0; i < count; ++i) x[i] = gelu(x[i]);
      break;
    case Activation::kGeluTanh:
      for (std::size_t i = 0; i < count; ++i) x[i] = gelu_tanh(x[i]);
      break;
    case Activation::kRelu:
      for (std::size_t i = 0; i < count; ++i) x[i] = x[i] < 0 ? 0 : x[i];  // NaN stays
      break;
    case Activation::kSilu:
      for (std::size_t i = 0; i < count; ++i) x[i] = x[i] / (1 + std::exp(-x[i]));
      break;
  }
}

void activate_gated(Activation activation, float* x, const float* gate, std::size_t count) noexcept {
  activate(activation, x, count);
  for (std::size_t i = 0; i < count; ++i) x[i] *= gate[i];
}

void softmax(float* x, std::size_t count) noexcept {
  assert(count >= 1);
  const float max = *std::max_element(x, x + count);
  float sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    x[i] = std::exp(x[i] - max);
    sum += x[i];
  }
  const float scale = 1 / sum;
  for (std::size_t i = 0; i < count; ++i) x[i] *= scale;
}

float maximum(const float* x, std::size_t count) noexcept {
  assert(count >= 1);
  return *std::max_element(x, x + count);
}

double sum_exp(const SumExpCall& call) noexcept {
  constexpr std::size_t kSums = SumExpCall::kSums;
  const auto power = [&](std::size_t i) {
    const float e = exp_in_steps((call.x[i] - call.max) * call.scale);
    if (call.exps != nullptr) call.exps[i] = e;
    return e;
  };
  const std::size_t whole = call.count / kSums * kSums;
  double total = 0;
  for (std::size_t i = 0; i < whole;) {
    std::array<float, kSums> sums{};
    const std::size_t end = std::min(whole, i + SumExpCall::kStretch);
    for (; i < end; i += kSums) {
      for (std::size_t j = 0; j < kSums; ++j) sums[j] += power(i + j);
    }
    for (const float sum : sums) total += static_cast<double>(sum);
  }
  for (std::size_t i = whole; i < call.count; ++i) total += static_cast<double>(power(i));
  return total;
}

void layer_norm(const LayerNormCall& call) noexcept {
  assert(call.columns >= 1);
  const auto columns = static_cast<double>(call.columns);
  for (std::size_t row = 0; row < call.rows; ++row) {
    const float* x = call.x + row * call.columns;
    float* y = call.y + row * call.columns;
    double sum = 0, squares = 0;  // one chain of float additions would lose digits over a thousand columns
    for (std::size_t j = 0; j < call.columns; ++j) sum += static_cast<double>(x[j]);
    const auto mean = static_cast<float>(sum / columns);
    for (std::size_t j = 0; j < call.columns; ++j)
      squares += static_cast<double>((x[j] - mean) * (x[j] - mean));
    const float inverse = 1 / std::sqrt(static_cast<float>(squares / columns) + call.epsilon);
    for (std::size_t j = 0; j < call.columns; ++j) {
      y[j] = (x[j] - mean) * inverse * call.weight[j] + call.bias[j];
    }
  }
}

void no_norm(const LayerNormCall& call) noexcept {
  for (std::size_t row = 0; row < call.rows; ++row) {
    const float* x = call.x + row * call.columns;
    float* y = call.y + row * call.columns;
    for (std::size_t j = 0; j < call.columns; ++j) y[j] = x[j] * call.weight[j] + call.bias[j];
  }
}

void rms_norm(const RmsNormCall& call) noexcept {
  assert(call.columns >= 1);
  for (std::size_t row = 0; row < call.rows; ++row) {
    const float* x = call.x + row * call.columns;
    float* y = call.y + row * call.columns;
    double squares = 0;
    for (std::size_t j = 0; j < call.columns; ++j)
      squares += static_cast<double>(x[j]) * static_cast<double>(x[j]);
    const auto mean = static_cast<float>(squares / static_cast<double>(call.columns));
    const float inverse = 1 / std::sqrt(mean + call.epsilon);
    for (std::size_t j = 0; j < call.columns; ++j) y[j] = x[j] * inverse * call.weight[j];
  }
}

void rotate(const RotateCall& call) noexcept {
  assert(call.head_dim % 2 == 0);
  const std::size_t half = call.head_dim / 2;
  for (std::size_t head = 0; head < call.heads; ++head) {
    float* a = call.x + head * call.head_dim;
    float* b = a + half;
    for (std::size_t i = 0; i < half; ++i) {
      const float first = a[i] * call.cos[i] - b[i] * call.sin[i];
      b[i] = b[i] * call.cos[i] + a[i] * call.sin[i];
      a[i] = first;
    }
  }
}

bool all_finite(const float* x, std::size_t count) noexcept {
  constexpr std::uint32_t kExponent = 0x7F800000;  // all ones: infinite or not a number
  bool finite = true;
  for (std::size_t i = 0; i < count; ++i) {
    finite &= (std::bit_cast<std::uint32_t>(x[i]) & kExponent) != kExponent;
  }
  return finite;
}

void convert_half(const void* half, float* out, std::size_t count) noexcept {
  const auto* bytes = static_cast<const unsigned char*>(half);  // may be unaligned: files promise nothing
  for (std::size_t i = 0; i < count; ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, bytes + i * sizeof bits, sizeof bits);
    out[i] = half_to_float(bits);
  }
}

}  // namespace kvasir::kernels::scalar
