// The part of products of bytes that all instruction sets share: quantising rows, and what follows the sums.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>

#include "kernels/int8.h"
#include "kernels/vector/gemm.h"
#include "kernels/vector/lanes.h"

namespace kvasir::kernels {

template <class S>
struct Int8Rounding {
  using Vec = typename S::Vec;

  struct Range {
    float min, max;
  };

  // Of a row and 0.
  static Range range(const float* x, std::size_t columns) noexcept {
    constexpr std::size_t kChains = 4;  // of each: two units with a latency of two or three cycles
    Vec min[kChains], max[kChains];
    unroll<kChains>([&](auto c) { min[c] = max[c] = S::zero(); });
    std::size_t j = 0;
    for (; j + kChains * S::kLanes <= columns; j += kChains * S::kLanes) {
      unroll<kChains>([&](auto c) {
        const Vec v = S::load(x + j + c * S::kLanes);
        min[c] = S::min(v, min[c]);
        max[c] = S::max(v, max[c]);
      });
    }
    for (; j < columns; j += S::kLanes) {
      const Vec v = S::load(x + j, S::first(columns - j < S::kLanes ? columns - j : S::kLanes));
      min[0] = S::min(v, min[0]);
      max[0] = S::max(v, max[0]);
    }
    return {.min = S::min(S::min(S::min(min[0], min[1]), S::min(min[2], min[3]))),
            .max = S::max(S::max(S::max(max[0], max[1]), S::max(max[2], max[3])))};
  }

  static void quantize(const QuantizeCall& call, const Int8Rows& out) noexcept {
    for (std::size_t r = 0; r < call.rows; ++r) {
      const float* x = call.x + r * call.ldx;
      std::uint8_t* bytes = out.data + r * out.stride;
      const Int8Scale scale = int8_scale(range(x, call.columns));
      out.scales[r] = scale.scale;
      out.zeros[r] = scale.zero;
      const Vec inverse = S::set(scale.inverse);
      const typename S::Ints zero = S::to_ints(S::set(scale.zero));
      const auto convert = [&](Vec v) { return S::add(S::to_ints(S::mul(v, inverse)), zero); };
      std::size_t j = 0;
      for (; j + S::kLanes <= call.columns; j += S::kLanes) {
        S::store_bytes(bytes + j, convert(S::load(x + j)));
      }
      // The last vector may write up to the stride.
      if (j < call.columns) S::store_bytes(bytes + j, convert(S::load(x + j, S::first(call.columns - j))));
    }
  }

  struct Int8Scale {
    float scale, inverse, zero;
  };
  static Int8Scale int8_scale(const Range& range) noexcept {
    const float width = range.max - range.min;
    // Only zeros, or (with weights near the largest float) a range that overflows.
    if (!(width > 1e-30F && width < 3e38F)) return {.scale = 1, .inverse = 0, .zero = 0};
    const float inverse = static_cast<float>(kMaxActivation) / width;
    return {.scale = width / static_cast<float>(kMaxActivation),
            .inverse = inverse,
            .zero = S::max(S::round(S::set(-range.min * inverse)))};
  }
};

// The values of a product of bytes; Derived adds how its sums are computed.
template <class S>
struct Int8Values {
  using Call = Int8GemmCall;
  using Sum = std::int32_t;
  static constexpr bool kRoughGelu = true;

  static std::size_t row_bytes(const Call& call) noexcept { return call.a.stride; }

  static auto values(const Call& call, std::size_t column) noexcept {
    // Scales and sums of weights are stored for whole panels.
    const typename S::Vec scales = S::load(call.b->scales.data() + column);
    const typename S::Vec weights = S::load(call.b->sums.data() + column);
    return [zeros = call.a.zeros, row_scales = call.a.scales, scales, weights](
               std::size_t row, typename S::Ints sums, typename S::Vec bias) {
      const typename S::Vec sum = S::to_floats(sums);
      const typename S::Vec shifted = S::negated_fma(S::set(zeros[row]), weights, sum);
      return S::fma(S::mul(shifted, scales), S::set(row_scales[row]), bias);
    };
  }
};

}  // namespace kvasir::kernels
