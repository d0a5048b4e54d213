// Products of floats with halves: the fp32 tile, whose columns are widened as they are loaded.
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

template <class S, tensor::DType kDType>
struct HalfProduct {
  using Tile = HalfTile<S, kDType>;
  using Call = HalfGemmCall;
  using Sum = float;
  static constexpr std::size_t kTileRows = S::kTileRows;
  static constexpr std::size_t panels(std::size_t rows) noexcept { return tile_panels<Tile>(rows); }

  static std::size_t row_bytes(const Call& call) noexcept { return call.lda * sizeof(float); }
  template <std::size_t Most, std::size_t P>
  static void sum_tile(const Call& call, const TilePlace& place, float* sums) noexcept {
    tile_rows<Tile, Most, P>(place.rows, {.a = call.a + place.row * call.lda,
                                          .b = call.b->panel(place.panel),
                                          .next = place.fetches() ? call.b->panel(place.next) : nullptr,
                                          .out = sums,
                                          .lda = call.lda,
                                          .panel_stride = call.b->k * kPanelColumns,
                                          .steps = call.b->k,
                                          .out_stride = P * kPanelColumns});
  }
  static auto values(const Call&, std::size_t) noexcept {
    return [](std::size_t, const float* sums, typename S::Vec bias) { return S::add(S::load(sums), bias); };
  }
};

template <class S>
void half_gemm(const HalfGemmCall& call, const GemmBlock& block) noexcept {
  if (call.b->dtype == tensor::DType::kF16)
    return Gemm<S, HalfProduct<S, tensor::DType::kF16>>::block(call, block);
  Gemm<S, HalfProduct<S, tensor::DType::kBF16>>::block(call, block);
}

}  // namespace kvasir::kernels
