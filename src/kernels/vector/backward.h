// Kernels of the backward pass, for the instruction set S.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernels/backward.h"
#include "kernels/vector/activation.h"
#include "kernels/vector/elementwise.h"
#include "kernels/vector/lanes.h"
#include "kernels/vector/math.h"
#include "kernels/vector/pack.h"

namespace kvasir::kernels {

// Φ(x) + x φ(x). Φ as gelu() has it: 1 - Q(|x|) for positive x, else Q(|x|).
template <class S>
inline typename S::Vec gelu_derivative(typename S::Vec x) noexcept {
  using Vec = typename S::Vec;
  const Vec t = S::min(S::set(5.9F), S::abs(x));
  const Vec p = polynomial<S>(t, kGeluTerms);
  const Vec q2 = exp2<S>(S::mul(p, t));  // 2 Q(t)
  const Vec q = S::mul(q2, S::set(0.5F));
  const Vec cdf = S::add(q, S::zero_below(S::sub(S::set(1.0F), q2), x, S::zero()));
  constexpr float kInverseRoot2Pi = 0.3989422804F;
  const Vec density = S::mul(S::set(kInverseRoot2Pi), exp<S>(S::mul(S::mul(x, x), S::set(-0.5F))));
  return S::fma(x, density, cdf);
}

// Of x s(v) with s the logistic function and dv the derivative of v: s + x s (1 - s) dv. negative_v: -v.
template <class S>
inline typename S::Vec logistic_derivative(typename S::Vec x, typename S::Vec negative_v,
                                           typename S::Vec dv) noexcept {
  using Vec = typename S::Vec;
  const Vec s = S::div(S::set(1.0F), S::add(S::set(1.0F), exp<S>(S::min(S::set(88.0F), negative_v))));
  return S::fma(S::mul(S::mul(x, s), S::sub(S::set(1.0F), s)), dv, s);
}

// Calls use(f) with the derivative f(Vec) -> Vec of an activation.
template <class S, class Use>
inline void with_derivative(Activation activation, const Use& use) noexcept {
  using Vec = typename S::Vec;
  switch (activation) {
    case Activation::kNone:
      return use([](Vec) { return S::set(1.0F); });
    case Activation::kGelu:
      return use([](Vec x) { return gelu_derivative<S>(x); });
    case Activation::kGeluTanh:
      return use([](Vec x) {
        constexpr float kFactor = 1.5957691216F, kCubic = 0.044715F;  // 2 √(2/π)
        x = S::min(S::set(10.0F), S::max(S::set(-10.0F), x));         // beyond, it is 0 or 1
        const Vec squared = S::mul(x, x);
        const Vec v = S::mul(x, S::fma(squared, S::set(-kCubic * kFactor), S::set(-kFactor)));
        const Vec dv = S::fma(squared, S::set(3 * kCubic * kFactor), S::set(kFactor));
        return logistic_derivative<S>(x, v, dv);
      });
    case Activation::kRelu:
      return use([](Vec x) {
        return S::zero_below(S::set(1.0F), x, S::set(std::numeric_limits<float>::denorm_min()));
      });
    case Activation::kSilu:
      return use([](Vec x) { return logistic_derivative<S>(x, S::sub(S::zero(), x), S::set(1.0F)); });
  }
}

template <class S>
struct Backward {
  using Vec = typename S::Vec;
  using Ints = typename S::Ints;
  using Forward = Elementwise<S>;

  static void transpose(const TransposeCall& call) noexcept {
    constexpr std::size_t kSide = 8;
    const std::size_t rows = call.rows / kSide * kSide, columns = call.columns / kSide * kSide;
    const auto one_by_one = [&](RowRange r, RowRange c) {
      for (std::size_t j = c.begin; j < c.end; ++j) {
        for (std::size_t i = r.begin; i < r.end; ++i) call.y[j * call.ldy + i] = call.x[i * call.ldx + j];
      }
    };
    // Two squares of 8 rows side by side fill whole cache lines of y.
    for (std::size_t i0 = 0; i0 < rows; i0 += 2 * kSide) {
      for (std::size_t j = 0; j < columns; j += kSide) {
        for (std::size_t i = i0; i < i0 + 2 * kSide && i < rows; i += kSide) {
          transpose8<S>(call.x + i * call.ldx + j, call.ldx, call.y + j * call.ldy + i, call.ldy);
        }
      }
    }
    one_by_one({rows, call.rows}, {0, call.columns});
    one_by_one({0, rows}, {columns, call.columns});
  }

  static void activation(const ActivationBackwardCall& call) noexcept {
    with_derivative<S>(call.activation, [&](const auto& derivative) {
      for_vectors<S>(call.count, [&](std::size_t i, auto m) {
        store<S>(call.dx + i, S::mul(load<S>(call.dy + i, m), derivative(load<S>(call.x + i, m))), m);
      });
    });
  }

  static void gated(const GatedBackwardCall& call) noexcept {
    with_activation<S>(call.activation, [&](const auto& activation) {
      with_derivative<S>(call.activation, [&](const auto& derivative) {
        for_vectors<S>(call.count, [&](std::size_t i, auto m) {
          const Vec x = load<S>(call.x + i, m), dy = load<S>(call.dy + i, m),
                    gate = load<S>(call.gate + i, m);
          store<S>(call.dx + i, S::mul(S::mul(dy, gate), derivative(x)), m);
          store<S>(call.dgate + i, S::mul(dy, activation(x)), m);
        });
      });
    });
  }

  // With the mean (LayerNorm) or without (RMSNorm).
  template <bool kMean>
  static void norm(const NormBackwardCall& call) noexcept {
    const std::size_t columns = call.columns;
    const float scale = 1 / static_cast<float>(columns);
    for (std::size_t row = 0; row < call.rows; ++row) {
      const float *x = call.x + row * columns, *dy = call.dy + row * columns;
      float* dx = call.dx + row * columns;
      Vec mean = S::zero();
      if constexpr (kMean) {
        const auto add = [&](Vec a, std::size_t j, auto m) { return S::add(a, load<S>(x + j, m)); };
        mean = S::set(Forward::sum(columns, add) * scale);
      }
      const float squares = Forward::sum(columns, [&](Vec a, std::size_t j, auto m) {
        const Vec d = S::sub(load<S>(x + j, m), mean);
        return select<S>(m, S::fma(d, d, a), a);
      });
      const Vec inverse = S::div(S::set(1.0F), S::sqrt(S::set(squares * scale + call.epsilon)));
      const auto gradient = [&](std::size_t j, auto m) {
        return S::mul(load<S>(dy + j, m), load<S>(call.weight + j, m));
      };
      const auto normed = [&](std::size_t j, auto m) {
        return S::mul(S::sub(load<S>(x + j, m), mean), inverse);
      };
      Vec mean_gradient = S::zero();
      if constexpr (kMean) {
        const auto add = [&](Vec a, std::size_t j, auto m) { return S::add(a, gradient(j, m)); };
        mean_gradient = S::set(Forward::sum(columns, add) * scale);
      }
      const Vec projection =
          S::set(scale * Forward::sum(columns, [&](Vec a, std::size_t j, auto m) {
                   return S::fma(gradient(j, m), normed(j, m), a);  // 0 where dy is not read
                 }));
      for_vectors<S>(columns, [&](std::size_t j, auto m) {
        const Vec y = normed(j, m), own_dy = load<S>(dy + j, m);
        Vec d = S::mul(inverse, S::sub(S::sub(gradient(j, m), mean_gradient), S::mul(y, projection)));
        if (call.accumulates) d = S::add(load<S>(dx + j, m), d);
        store<S>(dx + j, d, m);
        store<S>(call.dweight + j, S::fma(own_dy, y, load<S>(call.dweight + j, m)), m);
        if (call.dbias != nullptr) store<S>(call.dbias + j, S::add(load<S>(call.dbias + j, m), own_dy), m);
      });
    }
  }

  static void no_norm(const NormBackwardCall& call) noexcept {
    for (std::size_t row = 0; row < call.rows; ++row) {
      const float *x = call.x + row * call.columns, *dy = call.dy + row * call.columns;
      float* dx = call.dx + row * call.columns;
      for_vectors<S>(call.columns, [&](std::size_t j, auto m) {
        const Vec own_dy = load<S>(dy + j, m);
        Vec d = S::mul(own_dy, load<S>(call.weight + j, m));
        if (call.accumulates) d = S::add(load<S>(dx + j, m), d);
        store<S>(dx + j, d, m);
        store<S>(call.dweight + j, S::fma(own_dy, load<S>(x + j, m), load<S>(call.dweight + j, m)), m);
        store<S>(call.dbias + j, S::add(load<S>(call.dbias + j, m), own_dy), m);
      });
    }
  }

  static void softmax(const SoftmaxBackwardCall& call) noexcept {
    const Vec sum = S::set(Forward::sum(call.count, [&](Vec a, std::size_t i, auto m) {
      return S::fma(load<S>(call.p + i, m), load<S>(call.dp + i, m), a);
    }));
    for_vectors<S>(call.count, [&](std::size_t i, auto m) {
      store<S>(call.dp + i, S::mul(load<S>(call.p + i, m), S::sub(load<S>(call.dp + i, m), sum)), m);
    });
  }

  static void add_rows(const RowSumsCall& call) noexcept {
    for_vectors<S>(call.columns, [&](std::size_t j, auto m) {
      Vec sum = load<S>(call.sums + j, m);
      for (std::size_t r = 0; r < call.rows; ++r) sum = S::add(sum, load<S>(call.x + r * call.ldx + j, m));
      store<S>(call.sums + j, sum, m);
    });
  }

  static void add_scaled(const float* x, float scale, float* y, std::size_t count) noexcept {
    const Vec factor = S::set(scale);
    for_vectors<S>(count, [&](std::size_t i, auto m) {
      store<S>(y + i, S::fma(load<S>(x + i, m), factor, load<S>(y + i, m)), m);
    });
  }

  // In single precision over stretches that lose at most a few bits, then in double.
  static double sum_of_squares(const float* x, std::size_t count) noexcept {
    constexpr std::size_t kStretch = 1024;
    double sum = 0;
    for (std::size_t i = 0; i < count; i += kStretch) {
      const std::size_t length = count - i < kStretch ? count - i : kStretch;
      sum += static_cast<double>(Forward::sum(length, [&](Vec a, std::size_t j, auto m) {
        const Vec v = load<S>(x + i + j, m);
        return S::fma(v, v, a);
      }));
    }
    return sum;
  }

  static Ints mix(Ints x) noexcept {
    x = S::exclusive_or(x, S::template shift_right<16>(x));
    x = S::mul_low(x, S::set_ints(0x7FEB352DU));
    x = S::exclusive_or(x, S::template shift_right<15>(x));
    x = S::mul_low(x, S::set_ints(0x846CA68BU));
    return S::exclusive_or(x, S::template shift_right<16>(x));
  }

  static void dropout(const DropoutCall& call) noexcept {
    alignas(64) static constexpr std::int32_t kPlaces[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                             8, 9, 10, 11, 12, 13, 14, 15};
    const Ints places = S::load_ints(kPlaces), threshold = S::set_ints(call.threshold);
    const Vec scale = S::set(call.scale);
    for_vectors<S>(call.count, [&](std::size_t i, auto m) {
      const Ints place = S::add(places, S::set_ints(static_cast<std::uint32_t>(i)));
      const Ints first = mix(S::exclusive_or(place, S::set_ints(call.key[0])));
      const Ints bits = mix(S::add(first, S::set_ints(call.key[1])));
      store<S>(call.x + i, S::zero_below(S::mul(load<S>(call.x + i, m), scale), bits, threshold), m);
    });
  }

  static void adamw(const AdamWCall& call) noexcept {
    const Vec gradient_scale = S::set(call.gradient_scale), decay = S::set(call.decay);
    const Vec beta1 = S::set(call.beta1), rest1 = S::set(1 - call.beta1);
    const Vec beta2 = S::set(call.beta2), rest2 = S::set(1 - call.beta2);
    const Vec step = S::set(call.step_size), root = S::set(call.inverse_root2),
              epsilon = S::set(call.epsilon);
    for_vectors<S>(call.count, [&](std::size_t i, auto lanes) {
      const Vec g = S::mul(load<S>(call.gradient + i, lanes), gradient_scale);
      const Vec m = S::fma(beta1, load<S>(call.m + i, lanes), S::mul(rest1, g));
      const Vec v = S::fma(beta2, load<S>(call.v + i, lanes), S::mul(S::mul(rest2, g), g));
      store<S>(call.m + i, m, lanes);
      store<S>(call.v + i, v, lanes);
      const Vec move = S::div(S::mul(step, m), S::fma(S::sqrt(v), root, epsilon));
      store<S>(call.p + i, S::sub(S::mul(load<S>(call.p + i, lanes), decay), move), lanes);
    });
  }
};

template <class S>
constexpr BackwardKernels backward_table() noexcept {
  using B = Backward<S>;
  return {.transpose = B::transpose,
          .activation = B::activation,
          .gated = B::gated,
          .layer_norm = B::template norm<true>,
          .no_norm = B::no_norm,
          .rms_norm = B::template norm<false>,
          .softmax = B::softmax,
          .add_rows = B::add_rows,
          .add_scaled = B::add_scaled,
          .sum_of_squares = B::sum_of_squares,
          .dropout = B::dropout,
          .adamw = B::adamw};
}

}  // namespace kvasir::kernels
