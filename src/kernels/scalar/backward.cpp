#include "kernels/backward.h"

#include <cmath>
#include <numbers>

#include "kernels/scalar/scalar.h"
#include "kernels/tables.h"

namespace kvasir::kernels {

namespace {

float sigmoid(float x) {
  return 1 / (1 + std::exp(-x));
}

float derivative(Activation activation, float x) {
  switch (activation) {
    case Activation::kNone:
      return 1;
    case Activation::kGelu: {  // Φ(x) + x φ(x)
      constexpr float kInverseRoot2 = 1 / std::numbers::sqrt2_v<float>;
      constexpr float kInverseRoot2Pi = std::numbers::inv_sqrtpi_v<float> * kInverseRoot2;
      return 0.5F * std::erfc(-x * kInverseRoot2) + x * std::exp(-x * x / 2) * kInverseRoot2Pi;
    }
    case Activation::kGeluTanh: {  // of x s(2u): s + 2 x s (1 - s) u'
      const float k = std::sqrt(2 * std::numbers::inv_pi_v<float>);
      const float s = sigmoid(2 * k * (x + 0.044715F * x * x * x));
      return s + 2 * x * s * (1 - s) * k * (1 + 3 * 0.044715F * x * x);
    }
    case Activation::kRelu:
      return x > 0 ? 1.0F : 0.0F;
    case Activation::kSilu: {
      const float s = sigmoid(x);
      return s + x * s * (1 - s);
    }
  }
  return 1;
}

void transpose(const TransposeCall& call) noexcept {
  constexpr std::size_t kStep = 16;  // a cache line of each of 16 rows at a time
  for (std::size_t r0 = 0; r0 < call.rows; r0 += kStep) {
    const std::size_t end = r0 + kStep < call.rows ? r0 + kStep : call.rows;
    for (std::size_t c = 0; c < call.columns; ++c) {
      for (std::size_t r = r0; r < end; ++r) call.y[c * call.ldy + r] = call.x[r * call.ldx + c];
    }
  }
}

void activation_backward(const ActivationBackwardCall& call) noexcept {
  for (std::size_t i = 0; i < call.count; ++i)
    call.dx[i] = call.dy[i] * derivative(call.activation, call.x[i]);
}

void gated_backward(const GatedBackwardCall& call) noexcept {
  for (std::size_t i = 0; i < call.count; ++i) {
    float y = call.x[i];
    scalar::activate(call.activation, &y, 1);
    const float dy = call.dy[i], gate = call.gate[i];
    call.dx[i] = dy * gate * derivative(call.activation, call.x[i]);
    call.dgate[i] = dy * y;
  }
}

// With the mean (LayerNorm) or without (RMSNorm).
template <bool kMean>
void norm_backward(const NormBackwardCall& call) noexcept {
  const auto columns = static_cast<double>(call.columns);
  for (std::size_t row = 0; row < call.rows; ++row) {
    const float *x = call.x + row * call.columns, *dy = call.dy + row * call.columns;
    float* dx = call.dx + row * call.columns;
    double sum = 0, squares = 0;
    for (std::size_t j = 0; kMean && j < call.columns; ++j) sum += static_cast<double>(x[j]);
    const auto mean = static_cast<float>(sum / columns);
    for (std::size_t j = 0; j < call.columns; ++j)
      squares += static_cast<double>((x[j] - mean) * (x[j] - mean));
    const float inverse = 1 / std::sqrt(static_cast<float>(squares / columns) + call.epsilon);
    double gs = 0, projections = 0;
    for (std::size_t j = 0; j < call.columns; ++j) {
      const float g = dy[j] * call.weight[j];
      gs += static_cast<double>(g);
      projections += static_cast<double>(g * (x[j] - mean) * inverse);
    }
    const float mean_g = kMean ? static_cast<float>(gs / columns) : 0;
    const auto projection = static_cast<float>(projections / columns);
    for (std::size_t j = 0; j < call.columns; ++j) {
      const float own_dy = dy[j], normed = (x[j] - mean) * inverse;
      const float d = inverse * (own_dy * call.weight[j] - mean_g - normed * projection);
      dx[j] = call.accumulates ? dx[j] + d : d;
      call.dweight[j] += own_dy * normed;
      if (call.dbias != nullptr) call.dbias[j] += own_dy;
    }
  }
}

void no_norm_backward(const NormBackwardCall& call) noexcept {
  for (std::size_t row = 0; row < call.rows; ++row) {
    const float *x = call.x + row * call.columns, *dy = call.dy + row * call.columns;
    float* dx = call.dx + row * call.columns;
    for (std::size_t j = 0; j < call.columns; ++j) {
      const float own_dy = dy[j], d = own_dy * call.weight[j];
      dx[j] = call.accumulates ? dx[j] + d : d;
      call.dweight[j] += own_dy * x[j];
      call.dbias[j] += own_dy;
    }
  }
}

void softmax_backward(const SoftmaxBackwardCall& call) noexcept {
  double sum = 0;
  for (std::size_t i = 0; i < call.count; ++i) sum += static_cast<double>(call.p[i] * call.dp[i]);
  for (std::size_t i = 0; i < call.count; ++i)
    call.dp[i] = call.p[i] * (call.dp[i] - static_cast<float>(sum));
}

void add_rows(const RowSumsCall& call) noexcept {
  for (std::size_t r = 0; r < call.rows; ++r) {
    for (std::size_t j = 0; j < call.columns; ++j) call.sums[j] += call.x[r * call.ldx + j];
  }
}

void add_scaled(const float* x, float scale, float* y, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i) y[i] += x[i] * scale;
}

double sum_of_squares(const float* x, std::size_t count) noexcept {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

void dropout(const DropoutCall& call) noexcept {
  for (std::size_t i = 0; i < call.count; ++i) {
    const bool drops = random_bits(call.key, static_cast<std::uint32_t>(i)) < call.threshold;
    call.x[i] = drops ? 0 : call.x[i] * call.scale;
  }
}

void adamw(const AdamWCall& call) noexcept {
  for (std::size_t i = 0; i < call.count; ++i) {
    const float g = call.gradient[i] * call.gradient_scale;
    const float m = call.beta1 * call.m[i] + (1 - call.beta1) * g;
    const float v = call.beta2 * call.v[i] + (1 - call.beta2) * g * g;
    call.m[i] = m;
    call.v[i] = v;
    call.p[i] =
        call.p[i] * call.decay - call.step_size * m / (std::sqrt(v) * call.inverse_root2 + call.epsilon);
  }
}

}  // namespace

const BackwardKernels& scalar_backward_kernels() noexcept {
  static constexpr BackwardKernels kKernels{.transpose = transpose,
                                            .activation = activation_backward,
                                            .gated = gated_backward,
                                            .layer_norm = norm_backward<true>,
                                            .no_norm = no_norm_backward,
                                            .rms_norm = norm_backward<false>,
                                            .softmax = softmax_backward,
                                            .add_rows = add_rows,
                                            .add_scaled = add_scaled,
                                            .sum_of_squares = sum_of_squares,
                                            .dropout = dropout,
                                            .adamw = adamw};
  return kKernels;
}

}  // namespace kvasir::kernels
