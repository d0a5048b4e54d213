// One block of a product, for the instruction set S.
#pragma once

#include <cassert>
#include <cstddef>

#include "kernels/fp32.h"
#include "kernels/vector/activation.h"
#include "kernels/vector/lanes.h"
#include "kernels/vector/tile.h"

namespace kvasir::kernels {

// The rows of A and the panels of B that a tile multiplies, and the panel that is prefetched meanwhile.
struct TilePlace {
  std::size_t row, rows, panel, next;
  bool first;  // the first tile with these panels, which may not be in cache yet

  bool fetches() const noexcept { return next != kNoPanel; }
};

// The operands of a tile without quantisation: the rows of call.a are lda elements apart.
template <class Tile, class Call>
TileCall<Tile> float_tile(const Call& call, const TilePlace& place) noexcept {
  const std::size_t steps = (call.b->k + Tile::kGroup - 1) / Tile::kGroup;
  return {.a = call.a + place.row * call.lda,
          .b = call.b->panel(place.panel),
          .next = place.fetches() ? call.b->panel(place.next) : nullptr,
          .out = nullptr,
          .lda = call.lda,
          .panel_stride = steps * Tile::kGroup * kPanelColumns,
          .steps = steps,
          .out_stride = 0};
}

// Sums that are floats, with the bias; see values() of a product.
template <class S>
inline constexpr auto add_bias =
    [](std::size_t, typename S::Vec sums, typename S::Vec bias) { return S::add(sums, bias); };

// The product of fp32; those of 8-bit integers, halves and quants are in int8.h, half.h and quants.h.
template <class S>
struct Fp32Product {
  using Tile = Fp32<S>;
  using Call = GemmCall;
  using Sum = float;
  static constexpr std::size_t kTileRows = S::kTileRows;
  static constexpr std::size_t panels(std::size_t rows) noexcept { return tile_panels<Tile>(rows); }

  static std::size_t row_bytes(const Call& call) noexcept { return call.lda * sizeof(float); }
  static TileCall<Tile> tile_call(const Call& call, const TilePlace& place) noexcept {
    return float_tile<Tile>(call, place);
  }
  // A function for one vector of columns: value(row, sums, bias) is the product in that row, with the bias.
  static auto values(const Call&, std::size_t) noexcept { return add_bias<S>; }
};

// Product has
//  - panels(rows): the panels that a tile takes, and kTileRows, its rows at most;
//  - values(call, column): see Fp32Product;
//  - tile_call(call, place), if its tiles are those of tile.h, else sum_tile<Most, P>(call, place, sums).
template <class S, class Product>
struct Gemm {
  using Call = typename Product::Call;
  using Sum = typename Product::Sum;
  static constexpr std::size_t kTileRows = Product::kTileRows;

  // Products whose own error is larger than that of rough_gelu().
  static constexpr bool kRough = requires { Product::kRoughGelu; };

  // Rows of A whose starts are a multiple of 4 KiB apart share one set of the L1 cache, which has 8 ways on
  // most machines: 12 such rows evict each other at every step (75 % of the ceiling instead of 98 % on Zen
  // 4).
  static constexpr std::size_t kAliasBytes = 4096;
  static constexpr std::size_t kAliasRows = kTileRows < 8 ? kTileRows : 8;

  // What follows the sums: bias, activation, residual. Rows of `sums` are `width` apart.
  static void finish(const Call& call, const TilePlace& place, const Sum* sums, std::size_t width) noexcept {
    const std::size_t first = place.panel * kPanelColumns;
    const std::size_t columns = call.b->n - first < width ? call.b->n - first : width;
    with_activation<S, kRough>(call.activation, [&](const auto& activation) {
      for_vectors<S>(columns, [&](std::size_t j, auto lanes) {
        const std::size_t column = first + j;
        const typename S::Vec bias = call.bias == nullptr ? S::zero() : load<S>(call.bias + column, lanes);
        const auto value = Product::values(call, column);
        // Local copies: for the compiler, a store of a vector may change anything that a lambda captures by
        // reference, so it would be read again for each row.
        const std::size_t begin = place.row, rows = place.rows, stride = width, ldc = call.ldc,
                          ldr = call.ldr;
        const Sum* from = sums + j;
        const float* residual = call.residual;
        float* c = call.c_column(column);
        for (std::size_t r = 0; r < rows; ++r) {
          const std::size_t row = begin + r;
          typename S::Vec x = activation(value(row, load_sums(from + r * stride), bias));
          if (residual != nullptr) x = S::add(x, load<S>(residual + row * ldr + column, lanes));
          store<S>(c + row * ldc, x, lanes);
        }
      });
    });
  }

  static typename S::Vec load_sums(const float* p) noexcept { return S::load(p); }
  static typename S::Ints load_sums(const std::int32_t* p) noexcept { return S::load_ints(p); }

  // Tiles of about full height are finished while their sums are in registers, in the usual cases: products
  // of bytes, 384 deep, reach 85 to 91 % of the ceiling with it and 82 to 87 % without.
  static constexpr std::size_t kFusedRows = kTileRows - 3;
  static constexpr bool kFuses = requires(const Call& call, const TilePlace& place) {
    Product::tile_call(call, place);
  };
  static bool can_fuse(const Call& call, const TilePlace& place, std::size_t width) noexcept {
    return place.rows >= kFusedRows && place.panel * kPanelColumns + width <= call.b->n &&
           (call.activation == Activation::kNone ||
            (call.activation == Activation::kGelu && call.residual == nullptr));
  }
  // R: the number of rows of the tile, or more.
  template <std::size_t R, std::size_t P>
  static void fused_tile(const Call& call, const TilePlace& place) noexcept {
    if constexpr (R > kFusedRows) {
      if (place.rows < R) return fused_tile<R - 1, P>(call, place);
    }
    using Tile = typename Product::Tile;
    constexpr std::size_t kVectors = P * kPanelColumns / S::kLanes;
    typename Tile::Sums sums[R][kVectors];
    sum_tile<Tile, R, kVectors>(Product::tile_call(call, place), sums);
    if (call.activation == Activation::kGelu) {
      finish_sums<false>(
          call, place, sums, [](typename S::Vec x) __attribute__((always_inline)) {
            return kRough ? rough_gelu<S>(x) : gelu<S>(x);
          });
    } else if (call.residual != nullptr) {
      finish_sums<true>(call, place, sums, [](typename S::Vec x) { return x; });
    } else {
      finish_sums<false>(call, place, sums, [](typename S::Vec x) { return x; });
    }
  }
  // finish() of sums in registers, R rows of V vectors.
  template <bool kResidual, std::size_t R, std::size_t V, class Sums, class F>
  static __attribute__((always_inline)) void finish_sums(const Call& call, const TilePlace& place,
                                                         const Sums (&sums)[R][V],
                                                         const F& activation) noexcept {
    const std::size_t first = place.panel * kPanelColumns, begin = place.row, ldc = call.ldc, ldr = call.ldr;
    unroll<V>([&](auto v) __attribute__((always_inline)) {
      const std::size_t column = first + v * S::kLanes;
      const typename S::Vec bias = call.bias == nullptr ? S::zero() : S::load(call.bias + column);
      const auto value = Product::values(call, column);
      const float* residual = kResidual ? call.residual + begin * ldr + column : nullptr;
      float* c = call.c_column(column) + begin * ldc;
      unroll<R>([&](auto r) __attribute__((always_inline)) {
        typename S::Vec x = activation(value(begin + r, sums[r][v], bias));
        if constexpr (kResidual) x = S::add(x, S::load(residual + r * ldr));
        S::store(c + r * ldc, x);
      });
    });
  }

  // A whole tile; `sums` is memory for sums that are not finished in registers.
  template <std::size_t Most, std::size_t P>
  static void tile(const Call& call, const TilePlace& place, Sum* sums) noexcept {
    constexpr std::size_t kWidth = P * kPanelColumns;
    if constexpr (kFuses) {
      if constexpr (Most == kTileRows) {
        if (can_fuse(call, place, kWidth)) return fused_tile<Most, P>(call, place);
      }
      TileCall<typename Product::Tile> tile = Product::tile_call(call, place);
      tile.out = sums;
      tile.out_stride = kWidth;
      tile_rows<typename Product::Tile, Most, P>(place.rows, tile);
    } else {
      Product::template sum_tile<Most, P>(call, place, sums);
    }
    finish(call, place, sums, kWidth);
  }

  // All panels from `panel` to the end of the block, P at a time and fewer at the end, for all its rows, in
  // tiles of at most Most rows, fewer if aliasing requires it.
  template <std::size_t Most, std::size_t P>
  static void panels(const Call& call, const GemmBlock& block, std::size_t panel) noexcept {
    constexpr std::size_t kWidth = P * kPanelColumns;
    const std::size_t rows = block.row_end - block.row_begin;
    const std::size_t most =
        Product::row_bytes(call) % kAliasBytes == 0 && Most > kAliasRows ? kAliasRows : Most;
    const std::size_t tiles = (rows + most - 1) / most;
    alignas(64) Sum sums[Most * kWidth];
    for (; panel + P <= block.panel_end; panel += P) {
      // The last tile of a group fetches the next group into L2, so that its first tile does not wait for it.
      // (Spread over all tiles, the prefetches cost 2 %.) With few rows all time goes into reading B from
      // memory, and prefetching only costs.
      const std::size_t next = panel + 2 * P <= block.panel_end ? panel + P : block.next_panel;
      const bool fetch = Most == kTileRows && next + P <= call.b->panels();
      for (std::size_t t = 0; t < tiles; ++t) {  // of equal height, give or take a row
        const std::size_t row = block.row_begin + rows * t / tiles;
        const std::size_t height = block.row_begin + rows * (t + 1) / tiles - row;
        const TilePlace place{.row = row,
                              .rows = height,
                              .panel = panel,
                              .next = fetch && t + 1 == tiles ? next : kNoPanel,
                              .first = t == 0};
        tile<Most, P>(call, place, sums);
      }
    }
    if constexpr (P > 1) {
      if (panel < block.panel_end) panels<Most, P / 2>(call, block, panel);
    }
  }

  // Few rows take more panels at once, for enough independent chains, or fewer (see avx512vnni/quants.cpp).
  template <std::size_t Rows>
  static void choose_tile(const Call& call, const GemmBlock& block) noexcept {
    constexpr std::size_t kPanels = Product::panels(Rows);
    if constexpr (kPanels != Product::panels(kTileRows)) {
      if (block.row_end - block.row_begin > Rows) return choose_tile<Rows + 1>(call, block);
      panels<Rows, kPanels>(call, block, block.panel_begin);
    } else {
      panels<kTileRows, kPanels>(call, block, block.panel_begin);
    }
  }

  static void block(const Call& call, const GemmBlock& block) noexcept {
    assert(block.row_begin < block.row_end && block.row_end <= call.m);
    assert(block.panel_begin < block.panel_end && block.panel_end <= call.b->panels());
    choose_tile<1>(call, block);
  }
};

}  // namespace kvasir::kernels
