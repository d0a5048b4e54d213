// The inner product loop: a tile of R rows times V vectors of columns, its sums in registers. Serves the
// matrix product and both products of attention.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "kernels/kernels.h"

namespace kvasir::kernels {

// Calls f(constant 0), …, f(constant N - 1): a loop that is unrolled whatever the optimiser thinks of it,
// because an array that is indexed by a variable does not live in registers.
template <std::size_t N, class F>
inline __attribute__((always_inline)) void unroll(const F& f) noexcept {
  [&]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
    (f(std::integral_constant<std::size_t, I>{}), ...);
  }
  (std::make_index_sequence<N>{});
}

// Where B lies: vectors of columns side by side in panels [k][16] (see PackedMatrix).
template <class S>
inline __attribute__((always_inline)) std::size_t vector_offset(std::size_t v,
                                                                std::size_t panel_stride) noexcept {
  constexpr std::size_t kPerPanel = kPanelColumns / S::kLanes;
  return v / kPerPanel * panel_stride + v % kPerPanel * S::kLanes;
}

// Rows r = 0, 1, … of A from a few pointers: [p], [p + lda], [p + 2 lda] are addresses that x86 forms at no
// cost, so 12 rows need 4 pointers and one stride. Left alone, GCC keeps 11 offsets and spills some in the
// loop (5 % slower at 11, 13 and 14 rows on Zen 4).
template <class S, std::size_t R>
struct RowPointers {
  static constexpr std::size_t kGroup = 3;
  const float* group[(R + kGroup - 1) / kGroup];
  std::size_t lda;

  RowPointers(const float* a, std::size_t stride) noexcept : lda(stride) {
    for (const float*& p : group) {
      p = a;
      asm("" : "+r"(p));  // hides that the pointers are related
      a += kGroup * stride;
    }
  }
  float at(std::size_t r) const noexcept { return group[r / kGroup][r % kGroup * lda]; }
  void next() noexcept {
    for (const float*& p : group) ++p;
  }
};

// Where the operands of a tile lie, and where its sums go.
struct TileCall {
  const float* a;     // first row; rows lda floats apart
  const float* b;     // first panel; panels panel_stride floats apart
  const float* next;  // as many panels to fetch into L2 meanwhile, or null
  float* out;         // whole panels, rows out_stride floats apart
  std::size_t lda, panel_stride, k, out_stride;
};

// sums[r][v] = Σ_k a[r · lda + k] · B[k][v], one chain of fused multiply-adds per element in the order of k.
template <class S, std::size_t R, std::size_t V, bool kPrefetch>
inline __attribute__((always_inline)) void multiply(const TileCall& call,
                                                    typename S::Vec (&sums)[R][V]) noexcept {
  RowPointers<S, R> rows(call.a, call.lda);
  const float* b = call.b;
  const float* next = call.next;
  const std::size_t panel_stride = call.panel_stride;
  for (std::size_t kk = 0; kk < call.k; ++kk) {
    if constexpr (R < V) {  // keep in registers what is fewer: the row's elements …
      typename S::Vec x[R];
      unroll<R>([&](auto r) { x[r] = S::set(rows.at(r)); });
      unroll<V>([&](auto v) {
        const typename S::Vec column = S::load(b + vector_offset<S>(v, panel_stride));
        unroll<R>([&](auto r) { sums[r][v] = S::fma(x[r], column, sums[r][v]); });
      });
    } else {  // … or the vectors of columns
      typename S::Vec column[V];
      unroll<V>([&](auto v) { column[v] = S::load(b + vector_offset<S>(v, panel_stride)); });
      unroll<R>([&](auto r) {
        const typename S::Vec x = S::set(rows.at(r));
        unroll<V>([&](auto v) { sums[r][v] = S::fma(x, column[v], sums[r][v]); });
      });
    }
    if constexpr (kPrefetch) {
      unroll<V * S::kLanes / kPanelColumns>(
          [&](auto p) { __builtin_prefetch(next + p * panel_stride, 0, 2); });
      next += kPanelColumns;
    }
    rows.next();
    b += kPanelColumns;
  }
}

// A tile of R rows times P panels.
template <class S, std::size_t R, std::size_t P>
void tile(const TileCall& call) noexcept {
  constexpr std::size_t kVectors = P * kPanelColumns / S::kLanes;
  typename S::Vec sums[R][kVectors];
  float* out = call.out;
  const std::size_t stride = call.out_stride;
  unroll<R>([&](auto r) { unroll<kVectors>([&](auto v) { sums[r][v] = S::zero(); }); });
  if (call.next == nullptr) {
    multiply<S, R, kVectors, false>(call, sums);
  } else {
    multiply<S, R, kVectors, true>(call, sums);
  }
  unroll<R>([&](auto r) {
    unroll<kVectors>([&](auto v) { S::store(out + r * stride + v * S::kLanes, sums[r][v]); });
  });
}

// The same for a number of rows that is known at run time, 1 <= rows <= Most.
template <class S, std::size_t Most, std::size_t P>
void tile_rows(std::size_t rows, const TileCall& call) noexcept {
  if constexpr (Most > 1) {
    if (rows < Most) return tile_rows<S, Most - 1, P>(rows, call);
  }
  tile<S, Most, P>(call);
}

// Most panels that a tile of R rows can take: the sums, the smaller side of the tile and one more vector must
// fit in the registers. At most 8 vectors: that many chains cover the latency of two units with 4 cycles.
template <class S>
constexpr std::size_t tile_panels(std::size_t rows) noexcept {
  for (std::size_t panels = 8 * S::kLanes / kPanelColumns; panels > 1; panels /= 2) {
    const std::size_t vectors = panels * kPanelColumns / S::kLanes;
    if (rows * vectors + (rows < vectors ? rows : vectors) + 1 <= S::kRegisters) return panels;
  }
  return 1;
}

}  // namespace kvasir::kernels
