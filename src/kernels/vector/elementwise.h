// Kernels over arrays and rows, for the instruction set S.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstring>

#include "kernels/fp32.h"
#include "kernels/vector/activation.h"
#include "kernels/vector/lanes.h"
#include "kernels/vector/math.h"
#include "kernels/vector/tile.h"

namespace kvasir::kernels {

template <class S>
struct Elementwise {
  using Vec = typename S::Vec;

  // merge(step(…step(init, i, mask)…), …) over the vectors of [0, count), in four chains so that their
  // latency overlaps.
  template <class Step, class Merge>
  static Vec reduce(std::size_t count, Vec init, const Step& step, const Merge& merge) noexcept {
    constexpr std::size_t kChains = 4;
    Vec chain[kChains];
    unroll<kChains>([&](auto u) { chain[u] = init; });
    const AllLanes<S> all;
    std::size_t i = 0;
    for (; i + kChains * S::kLanes <= count; i += kChains * S::kLanes) {
      unroll<kChains>([&](auto u) { chain[u] = step(chain[u], i + u * S::kLanes, all); });
    }
    for (; i + S::kLanes <= count; i += S::kLanes) chain[0] = step(chain[0], i, all);
    if (i < count) chain[1] = step(chain[1], i, S::first(count - i));
    return merge(merge(chain[0], chain[1]), merge(chain[2], chain[3]));
  }
  template <class Step>
  static float sum(std::size_t count, const Step& step) noexcept {
    return S::sum(reduce(count, S::zero(), step, [](Vec a, Vec b) { return S::add(a, b); }));
  }

  static void activate(Activation activation, float* x, std::size_t count) noexcept {
    if (activation == Activation::kNone) return;
    with_activation<S>(activation, [&](const auto& f) {
      for_vectors<S>(count, [&](std::size_t i, auto m) { store<S>(x + i, f(load<S>(x + i, m)), m); });
    });
  }

  static void activate_gated(Activation activation, float* x, const float* gate, std::size_t count) noexcept {
    with_activation<S>(activation, [&](const auto& f) {
      for_vectors<S>(count, [&](std::size_t i, auto m) {
        store<S>(x + i, S::mul(f(load<S>(x + i, m)), load<S>(gate + i, m)), m);
      });
    });
  }

  static void rotate(const RotateCall& call) noexcept {
    assert(call.head_dim % 2 == 0);
    const std::size_t half = call.head_dim / 2;
    for (std::size_t head = 0; head < call.heads; ++head) {
      float* first = call.x + head * call.head_dim;
      float* second = first + half;
      for_vectors<S>(half, [&](std::size_t i, auto m) {
        const Vec a = load<S>(first + i, m), b = load<S>(second + i, m);
        const Vec cos = load<S>(call.cos + i, m), sin = load<S>(call.sin + i, m);
        store<S>(first + i, S::sub(S::mul(a, cos), S::mul(b, sin)), m);
        store<S>(second + i, S::fma(b, cos, S::mul(a, sin)), m);
      });
    }
  }

  static float maximum(const float* x, std::size_t count) noexcept {
    return S::max(reduce(
        count, S::set(x[0]),
        [&](Vec max, std::size_t i, auto m) { return select<S>(m, S::max(max, load<S>(x + i, m)), max); },
        [](Vec a, Vec b) { return S::max(a, b); }));
  }

  // x := power(x - max); returns the sum.
  template <class Power>
  static float exponentials(float* x, std::size_t count, float max, const Power& power) noexcept {
    const Vec shift = S::set(max);
    return sum(count, [&](Vec sum, std::size_t i, auto m) {
      const Vec e = power(S::sub(load<S>(x + i, m), shift));
      store<S>(x + i, e, m);
      return select<S>(m, S::add(sum, e), sum);
    });
  }

  static void softmax(float* x, std::size_t count) noexcept {
    assert(count >= 1);
    const float total =
        exponentials(x, count, maximum(x, count), [](Vec difference) { return exp<S>(difference); });
    const Vec scale = S::set(1 / total);
    for_vectors<S>(count,
                   [&](std::size_t i, auto m) { store<S>(x + i, S::mul(load<S>(x + i, m), scale), m); });
  }

  static double sum_exp(const SumExpCall& call) noexcept {
    constexpr std::size_t kSums = SumExpCall::kSums, kVectors = kSums / S::kLanes;
    const Vec max = S::set(call.max), scale = S::set(call.scale);
    const auto power = [&](Vec x) { return exp<S>(S::mul(S::sub(x, max), scale)); };
    const std::size_t whole = call.count / kSums * kSums;
    alignas(64) float lanes[kSums];
    double total = 0;
    for (std::size_t i = 0; i < whole;) {
      Vec sums[kVectors];
      unroll<kVectors>([&](auto v) { sums[v] = S::zero(); });
      const std::size_t left = whole - i,
                        end = i + (left < SumExpCall::kStretch ? left : SumExpCall::kStretch);
      for (; i < end; i += kSums) {
        unroll<kVectors>([&](auto v) {
          const Vec e = power(S::load(call.x + i + v * S::kLanes));
          if (call.exps != nullptr) S::store(call.exps + i + v * S::kLanes, e);
          sums[v] = S::add(sums[v], e);
        });
      }
      unroll<kVectors>([&](auto v) { S::store(lanes + v * S::kLanes, sums[v]); });
      for (const float lane : lanes) total += static_cast<double>(lane);
    }
    for_vectors<S>(call.count - whole, [&](std::size_t j, auto m) {
      store<S>(lanes + j, power(load<S>(call.x + whole + j, m)), m);
    });
    for (std::size_t i = whole; i < call.count; ++i) {
      total += static_cast<double>(lanes[i - whole]);
      if (call.exps != nullptr) call.exps[i] = lanes[i - whole];
    }
    return total;
  }

  static void layer_norm(const LayerNormCall& call) noexcept {
    assert(call.columns >= 1);
    const std::size_t columns = call.columns;
    const float scale = 1 / static_cast<float>(columns);
    for (std::size_t row = 0; row < call.rows; ++row) {
      const float* x = call.x + row * columns;
      float* y = call.y + row * columns;
      const float total =
          sum(columns, [&](Vec a, std::size_t j, auto m) { return S::add(a, load<S>(x + j, m)); });
      const Vec mean = S::set(total * scale);
      const float squares = sum(columns, [&](Vec a, std::size_t j, auto m) {
        const Vec d = S::sub(load<S>(x + j, m), mean);
        return select<S>(m, S::fma(d, d, a), a);
      });
      const Vec inverse = S::div(S::set(1.0F), S::sqrt(S::set(squares * scale + call.epsilon)));
      for_vectors<S>(columns, [&](std::size_t j, auto m) {
        const Vec d = S::mul(S::sub(load<S>(x + j, m), mean), inverse);
        store<S>(y + j, S::fma(d, load<S>(call.weight + j, m), load<S>(call.bias + j, m)), m);
      });
    }
  }

  static void no_norm(const LayerNormCall& call) noexcept {
    for (std::size_t row = 0; row < call.rows; ++row) {
      const float* x = call.x + row * call.columns;
      float* y = call.y + row * call.columns;
      for_vectors<S>(call.columns, [&](std::size_t j, auto m) {
        store<S>(y + j, S::fma(load<S>(x + j, m), load<S>(call.weight + j, m), load<S>(call.bias + j, m)), m);
      });
    }
  }

  static void rms_norm(const RmsNormCall& call) noexcept {
    assert(call.columns >= 1);
    const std::size_t columns = call.columns;
    const float scale = 1 / static_cast<float>(columns);
    for (std::size_t row = 0; row < call.rows; ++row) {
      const float* x = call.x + row * columns;
      float* y = call.y + row * columns;
      const float squares = sum(columns, [&](Vec a, std::size_t j, auto m) {
        const Vec v = load<S>(x + j, m);
        return S::fma(v, v, a);
      });
      const Vec inverse = S::div(S::set(1.0F), S::sqrt(S::set(squares * scale + call.epsilon)));
      for_vectors<S>(columns, [&](std::size_t j, auto m) {
        store<S>(y + j, S::mul(S::mul(load<S>(x + j, m), inverse), load<S>(call.weight + j, m)), m);
      });
    }
  }

  static bool all_finite(const float* x, std::size_t count) noexcept {
    // x · 0 is 0 for finite x and NaN for others, and a sum with NaN is NaN.
    return sum(count,
               [&](Vec a, std::size_t i, auto m) { return S::fma(load<S>(x + i, m), S::zero(), a); }) == 0;
  }

  static void convert_half(const void* half, float* out, std::size_t count) noexcept {
    constexpr std::size_t kHalf = 2;  // bytes
    const auto* bytes = static_cast<const unsigned char*>(half);
    std::size_t i = 0;
    for (; i + S::kLanes <= count; i += S::kLanes) S::store(out + i, S::load_half(bytes + i * kHalf));
    if (i == count) return;
    unsigned char tail[S::kLanes * kHalf] = {};
    std::memcpy(tail, bytes + i * kHalf, (count - i) * kHalf);
    S::store(out + i, S::load_half(tail), S::first(count - i));
  }
};

}  // namespace kvasir::kernels
