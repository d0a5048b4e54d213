// Products of floats with halves: the fp32 tile, whose columns are widened as they are loaded, and one for
// few rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/half.h"
#include "kernels/vector/gemm.h"

namespace kvasir::kernels {

template <class S, tensor::DType kDType>
struct HalfTile : Fp32<S> {
  using Column = std::uint16_t;
  static typename S::Vec column(const Column* p) noexcept {
    return kDType == tensor::DType::kF16 ? S::load_half(p) : S::load_bfloat16(p);
  }
};

// For few rows, two panels are read as fast as the memory allows, prefetching kAhead steps of k ahead: the
// panels' own elements, and at their ends the beginnings of the next two. Two cores (Zen 5) read a 4096 x
// 4096 matrix at 92 to 95 % of the bandwidth for 1 to 4 rows, against 77 to 83 % with as many panels at once
// as registers allow and the processor's own prefetching; 8 rows become slower.
inline constexpr std::size_t kStreamedRows = 4, kStreamedPanels = 2;
inline constexpr std::size_t kAhead = 4096 / (kPanelColumns * sizeof(std::uint16_t));

template <class T, std::size_t R>
void streamed_tile(const TileCall<T>& call) noexcept {
  constexpr std::size_t kVectors = kStreamedPanels * kPanelColumns / T::kLanes;
  typename T::Sums sums[R][kVectors];
  unroll<R>([&](auto r) { unroll<kVectors>([&](auto v) { sums[r][v] = T::zero(); }); });
  const std::size_t end = call.steps < kAhead ? call.steps : kAhead, begin = call.steps - end;
  TileCall<T> part = call;
  part.steps = begin;
  part.next = call.b + end * kPanelColumns;
  multiply<T, R, kVectors, true>(part, sums);
  part.a += begin;
  part.b += begin * kPanelColumns;
  part.steps = end;
  part.next = call.b + kStreamedPanels * call.panel_stride;
  multiply<T, R, kVectors, true>(part, sums);
  unroll<R>([&](auto r) {
    unroll<kVectors>([&](auto v) { T::store(call.out + r * call.out_stride + v * T::kLanes, sums[r][v]); });
  });
}

template <class T, std::size_t Most>
void streamed_tile_rows(std::size_t rows, const TileCall<T>& call) noexcept {
  if constexpr (Most > 1) {
    if (rows < Most) return streamed_tile_rows<T, Most - 1>(rows, call);
  }
  streamed_tile<T, Most>(call);
}

template <class S, tensor::DType kDType>
struct HalfProduct {
  using Tile = HalfTile<S, kDType>;
  using Call = HalfGemmCall;
  using Sum = float;
  static constexpr std::size_t kTileRows = S::kTileRows;
  static constexpr std::size_t panels(std::size_t rows) noexcept {
    const std::size_t most = tile_panels<Tile>(rows);
    return most < kStreamedPanels ? most : kStreamedPanels;
  }

  static std::size_t row_bytes(const Call& call) noexcept { return call.lda * sizeof(float); }
  template <std::size_t Most, std::size_t P>
  static void sum_tile(const Call& call, const TilePlace& place, float* sums) noexcept {
    TileCall<Tile> tile = float_tile<Tile>(call, place);
    tile.out = sums;
    tile.out_stride = P * kPanelColumns;
    if constexpr (P == kStreamedPanels) {
      constexpr std::size_t kMost = Most < kStreamedRows ? Most : kStreamedRows;
      if (place.first && place.rows <= kMost) return streamed_tile_rows<Tile, kMost>(place.rows, tile);
    }
    tile_rows<Tile, Most, P>(place.rows, tile);
  }
  static auto values(const Call&, std::size_t) noexcept { return add_bias<S>; }
};

template <class S>
void half_gemm(const HalfGemmCall& call, const GemmBlock& block) noexcept {
  if (call.b->dtype == tensor::DType::kF16)
    return Gemm<S, HalfProduct<S, tensor::DType::kF16>>::block(call, block);
  Gemm<S, HalfProduct<S, tensor::DType::kBF16>>::block(call, block);
}

}  // namespace kvasir::kernels
