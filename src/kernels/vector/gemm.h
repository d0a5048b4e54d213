// One block of a product, for the instruction set S.
#pragma once

#include <cassert>
#include <cstddef>

#include "kernels/kernels.h"
#include "kernels/vector/activation.h"
#include "kernels/vector/lanes.h"
#include "kernels/vector/tile.h"

namespace kvasir::kernels {

template <class S>
struct Gemm {
  // Rows of A whose starts are a multiple of 4 KiB apart share one set of the L1 cache, which has 8 ways on
  // most machines: 12 such rows evict each other at every step (75 % of the ceiling instead of 98 % on Zen
  // 4).
  static constexpr std::size_t kAliasFloats = 4096 / sizeof(float);
  static constexpr std::size_t kAliasRows = S::kTileRows < 8 ? S::kTileRows : 8;

  // Where the sums of a tile go.
  struct Place {
    std::size_t row, rows, column, columns;
  };

  // What follows the sums: bias, activation, residual. Rows of `sums` are `width` floats apart.
  static void finish(const GemmCall& call, const Place& place, const float* sums,
                     std::size_t width) noexcept {
    with_activation<S>(call.activation, [&](const auto& activation) {
      for_vectors<S>(place.columns, [&](std::size_t j, auto lanes) {
        const std::size_t column = place.column + j;
        const typename S::Vec bias = call.bias == nullptr ? S::zero() : load<S>(call.bias + column, lanes);
        for (std::size_t r = 0; r < place.rows; ++r) {
          const std::size_t row = place.row + r;
          typename S::Vec x = activation(S::add(S::load(sums + r * width + j), bias));
          if (call.residual != nullptr) {
            x = S::add(x, load<S>(call.residual + row * call.ldr + column, lanes));
          }
          store<S>(call.c + row * call.ldc + column, x, lanes);
        }
      });
    });
  }

  // All panels from `panel` to the end of the block, P at a time and fewer at the end, for all its rows, at
  // most Most at a time, `most` if aliasing asks for less.
  template <std::size_t Most, std::size_t P>
  static void panels(const GemmCall& call, const GemmBlock& block, std::size_t panel) noexcept {
    constexpr std::size_t kWidth = P * kPanelColumns;
    const std::size_t k = call.b->k;
    const std::size_t rows = block.row_end - block.row_begin;
    const std::size_t most = call.lda % kAliasFloats == 0 && Most > kAliasRows ? kAliasRows : Most;
    const std::size_t tiles = (rows + most - 1) / most;
    alignas(64) float sums[Most * kWidth];
    for (; panel + P <= block.panel_end; panel += P) {
      const std::size_t column = panel * kPanelColumns;
      const std::size_t columns = call.b->n - column < kWidth ? call.b->n - column : kWidth;
      // The last tile of a group fetches the next group into L2, so that its first tile does not wait for it.
      // (Spread over all tiles it cost 2 %.) Few rows do nothing but read B, as fast as the memory can: there
      // it only costs.
      const std::size_t next = panel + 2 * P <= block.panel_end ? panel + P : block.next_panel;
      const bool fetch = Most == S::kTileRows && next + P <= call.b->panels();
      for (std::size_t t = 0; t < tiles; ++t) {  // of equal height, give or take a row
        const std::size_t row = block.row_begin + rows * t / tiles;
        const std::size_t height = block.row_begin + rows * (t + 1) / tiles - row;
        tile_rows<S, Most, P>(height, {.a = call.a + row * call.lda,
                                       .b = call.b->panel(panel),
                                       .next = fetch && t + 1 == tiles ? call.b->panel(next) : nullptr,
                                       .out = sums,
                                       .lda = call.lda,
                                       .panel_stride = k * kPanelColumns,
                                       .k = k,
                                       .out_stride = kWidth});
        finish(call, {.row = row, .rows = height, .column = column, .columns = columns}, sums, kWidth);
      }
    }
    if constexpr (P > 1) {
      if (panel < block.panel_end) panels<Most, P / 2>(call, block, panel);
    }
  }

  // Few rows take more panels at once, to have enough chains in flight.
  template <std::size_t Rows>
  static void choose_tile(const GemmCall& call, const GemmBlock& block) noexcept {
    constexpr std::size_t kPanels = tile_panels<S>(Rows);
    if constexpr (kPanels > tile_panels<S>(S::kTileRows)) {
      if (block.row_end - block.row_begin > Rows) return choose_tile<Rows + 1>(call, block);
      panels<Rows, kPanels>(call, block, block.panel_begin);
    } else {
      panels<S::kTileRows, kPanels>(call, block, block.panel_begin);
    }
  }

  static void block(const GemmCall& call, const GemmBlock& block) noexcept {
    assert(block.row_begin < block.row_end && block.row_end <= call.m);
    assert(block.panel_begin < block.panel_end && block.panel_end <= call.b->panels());
    choose_tile<1>(call, block);
  }
};

}  // namespace kvasir::kernels
