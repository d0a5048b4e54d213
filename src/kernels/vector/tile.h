// The inner product loop: a tile of R rows times V vectors of columns, its sums in registers. Serves the
// matrix product and both products of attention.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "kernels/fp32.h"

namespace kvasir::kernels {

// Calls f(constant 0), …, f(constant N - 1): a loop that is always unrolled, because an array that is indexed
// by a variable is not kept in registers.
template <std::size_t N, class F>
inline __attribute__((always_inline)) void unroll(const F& f) noexcept {
  [&]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
    (f(std::integral_constant<std::size_t, I>{}), ...);
  }
  (std::make_index_sequence<N>{});
}

// Hides the value of x from the compiler, so that loops over it are neither folded nor dropped.
template <class Register>
inline __attribute__((always_inline)) void hide(Register& x) noexcept {
  asm volatile("" : "+v"(x));
}

// Rows r = 0, 1, … of A from a few pointers: [p], [p + lda], [p + 2 lda] are addresses that x86 forms at no
// cost, so 12 rows need 4 pointers and one stride. Left alone, GCC keeps 11 offsets and spills some in the
// loop (5 % slower at 11, 13 and 14 rows on Zen 4).
template <class Element, std::size_t R>
struct RowPointers {
  static constexpr std::size_t kGroup = 3;
  const Element* group[(R + kGroup - 1) / kGroup];
  std::size_t lda;

  RowPointers(const Element* a, std::size_t stride) noexcept : lda(stride) {
    for (const Element*& p : group) {
      p = a;
      asm("" : "+r"(p));  // hides that the pointers are related
      a += kGroup * stride;
    }
  }
  const Element* at(std::size_t r) const noexcept { return group[r / kGroup] + r % kGroup * lda; }
  void advance(std::size_t elements) noexcept {
    for (const Element*& p : group) p += elements;
  }
};

// What a tile multiplies, and how: T is fp32 on an instruction set (Fp32), or another precision that one has.
// One step of k takes kGroup elements of a row, side by side, which meet as many of each column.
template <class S>
struct Fp32 {
  using Row = float;     // element of A
  using Column = float;  // element of B
  using Sum = float;     // element of the result
  using Operand = typename S::Vec;
  using Sums = typename S::Vec;
  static constexpr std::size_t kGroup = 1;
  static constexpr std::size_t kLanes = S::kLanes;  // columns per vector
  static constexpr std::size_t kRegisters = S::kRegisters;
  static constexpr std::size_t kTileRows = S::kTileRows;

  static Sums zero() noexcept { return S::zero(); }
  static Operand row(const Row* p) noexcept { return S::set(*p); }
  static Operand column(const Column* p) noexcept { return S::load(p); }
  static Sums multiply_add(Operand row, Operand column, Sums sums) noexcept {
    return S::fma(row, column, sums);
  }
  static void store(Sum* p, Sums sums) noexcept { S::store(p, sums); }
};

// Where B lies: vectors of columns side by side in panels [k / kGroup][16][kGroup] (see PackedMatrix).
template <class T>
inline __attribute__((always_inline)) std::size_t vector_offset(std::size_t v,
                                                                std::size_t panel_stride) noexcept {
  constexpr std::size_t kPerPanel = kPanelColumns / T::kLanes;
  return v / kPerPanel * panel_stride + v % kPerPanel * T::kLanes * T::kGroup;
}

// Where the operands of a tile lie, and where its sums go.
template <class T>
struct TileCall {
  const typename T::Row* a;                          // first row; rows lda elements apart
  const typename T::Column* b;                       // first panel; panels panel_stride elements apart
  const typename T::Column* next;                    // as many panels to fetch into L2 meanwhile, or null
  typename T::Sum* out;                              // whole panels, rows out_stride apart
  std::size_t lda, panel_stride, steps, out_stride;  // steps: of kGroup elements of k
};

// sums[r][v] = Σ_k a[r · lda + k] · B[k][v], one chain of multiply-adds per element in the order of k.
template <class T, std::size_t R, std::size_t V, bool kPrefetch>
inline __attribute__((always_inline)) void multiply(const TileCall<T>& call,
                                                    typename T::Sums (&sums)[R][V]) noexcept {
  RowPointers<typename T::Row, R> rows(call.a, call.lda);
  const typename T::Column* b = call.b;
  const typename T::Column* next = call.next;
  const std::size_t panel_stride = call.panel_stride;
  for (std::size_t step = 0; step < call.steps; ++step) {
    if constexpr (R < V) {  // keep the fewer ones in registers: the row's elements …
      typename T::Operand x[R];
      unroll<R>([&](auto r) { x[r] = T::row(rows.at(r)); });
      unroll<V>([&](auto v) {
        const typename T::Operand column = T::column(b + vector_offset<T>(v, panel_stride));
        unroll<R>([&](auto r) { sums[r][v] = T::multiply_add(x[r], column, sums[r][v]); });
      });
    } else {  // … or the vectors of columns
      typename T::Operand column[V];
      unroll<V>([&](auto v) { column[v] = T::column(b + vector_offset<T>(v, panel_stride)); });
      unroll<R>([&](auto r) {
        const typename T::Operand x = T::row(rows.at(r));
        unroll<V>([&](auto v) { sums[r][v] = T::multiply_add(x, column[v], sums[r][v]); });
      });
    }
    if constexpr (kPrefetch) {
      unroll<V * T::kLanes / kPanelColumns>(
          [&](auto p) { __builtin_prefetch(next + p * panel_stride, 0, 2); });
      next += kPanelColumns * T::kGroup;
    }
    rows.advance(T::kGroup);
    b += kPanelColumns * T::kGroup;
  }
}

// The sums of a tile of R rows times V vectors of columns.
template <class T, std::size_t R, std::size_t V>
inline __attribute__((always_inline)) void sum_tile(const TileCall<T>& call,
                                                    typename T::Sums (&sums)[R][V]) noexcept {
  unroll<R>([&](auto r) { unroll<V>([&](auto v) { sums[r][v] = T::zero(); }); });
  if (call.next == nullptr) {
    multiply<T, R, V, false>(call, sums);
  } else {
    multiply<T, R, V, true>(call, sums);
  }
}

// A tile of R rows times P panels.
template <class T, std::size_t R, std::size_t P>
void tile(const TileCall<T>& call) noexcept {
  constexpr std::size_t kVectors = P * kPanelColumns / T::kLanes;
  typename T::Sums sums[R][kVectors];
  typename T::Sum* out = call.out;
  const std::size_t stride = call.out_stride;
  sum_tile<T, R>(call, sums);
  unroll<R>([&](auto r) {
    unroll<kVectors>([&](auto v) { T::store(out + r * stride + v * T::kLanes, sums[r][v]); });
  });
}

// The same for a number of rows that is known at run time, 1 <= rows <= Most.
template <class T, std::size_t Most, std::size_t P>
void tile_rows(std::size_t rows, const TileCall<T>& call) noexcept {
  if constexpr (Most > 1) {
    if (rows < Most) return tile_rows<T, Most - 1, P>(rows, call);
  }
  tile<T, Most, P>(call);
}

// Most panels that a tile of R rows can take: the sums, the smaller side of the tile and one more vector must
// fit in the registers. At most 8 vectors: that many chains cover the latency of two units with 4 cycles.
template <class T>
constexpr std::size_t tile_panels(std::size_t rows) noexcept {
  for (std::size_t panels = 8 * T::kLanes / kPanelColumns; panels > 1; panels /= 2) {
    const std::size_t vectors = panels * kPanelColumns / T::kLanes;
    if (rows * vectors + (rows < vectors ? rows : vectors) + 1 <= T::kRegisters) return panels;
  }
  return 1;
}

}  // namespace kvasir::kernels
