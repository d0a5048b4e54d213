// The table of one instruction set S, and the loop that measures its ceiling.
#pragma once

#include <cstddef>

#include "kernels/tables.h"
#include "kernels/vector/attention.h"
#include "kernels/vector/elementwise.h"
#include "kernels/vector/gemm.h"
#include "kernels/vector/pack.h"
#include "kernels/vector/tile.h"

namespace kvasir::kernels {

// Twelve independent chains: two units of latency 4 or 5 need 8 or 10, and 16 registers hold no more than 15.
template <class S>
double multiply_adds(std::size_t rounds) noexcept {
  constexpr std::size_t kChains = 12;
  typename S::Vec sums[kChains];
  // Different values, so that the compiler does not merge the chains.
  unroll<kChains>([&](auto c) { sums[c] = S::set(static_cast<float>(c)); });
  volatile float input = 0.5F;  // unknown to the compiler, so that it cannot fold the loop
  const typename S::Vec x = S::set(input);
  for (std::size_t round = 0; round < rounds; ++round) {
    unroll<kChains>([&](auto c) { sums[c] = S::fma(sums[c], x, x); });
  }
  unroll<kChains>([&](auto c) { input = S::sum(sums[c]); });  // used, so that it cannot drop the loop
  return static_cast<double>(rounds * kChains * S::kLanes);
}

template <class S>
constexpr IsaFp32Kernels isa_kernels() noexcept {
  return {.table = {.pack_rows = pack_rows<S>,
                    .gemm_block = Gemm<S, Fp32Product<S>>::block,
                    .attention = Attention<S>::run,
                    .attention_scratch = Attention<S>::scratch,
                    .store_kv = store_kv<S>,
                    .layer_norm = Elementwise<S>::layer_norm,
                    .no_norm = Elementwise<S>::no_norm,
                    .rms_norm = Elementwise<S>::rms_norm,
                    .activate = Elementwise<S>::activate,
                    .softmax = Elementwise<S>::softmax,
                    .maximum = Elementwise<S>::maximum,
                    .sum_exp = Elementwise<S>::sum_exp,
                    .activate_gated = Elementwise<S>::activate_gated,
                    .rotate = Elementwise<S>::rotate,
                    .all_finite = Elementwise<S>::all_finite,
                    .convert_half = Elementwise<S>::convert_half},
          .multiply_adds = multiply_adds<S>};
}

}  // namespace kvasir::kernels
