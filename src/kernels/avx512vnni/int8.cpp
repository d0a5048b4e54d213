// Products of bytes with vpdpbusd: 64 multiply-adds an instruction, sums in 32 bits.
#include "kernels/vector/int8.h"

#include "kernels/avx512/simd.h"
#include "kernels/tables.h"

namespace kvasir::kernels {
namespace {

struct Bytes {
  using Row = std::uint8_t;
  using Column = std::int8_t;
  using Sum = std::int32_t;
  using Operand = __m512i;
  using Sums = __m512i;
  static constexpr std::size_t kGroup = kInt8Group;
  static constexpr std::size_t kLanes = 16;
  static constexpr std::size_t kRegisters = 32;

  static Sums zero() noexcept { return _mm512_setzero_si512(); }
  static Operand row(const Row* p) noexcept { return Avx512::broadcast_word(p); }
  static Operand column(const Column* p) noexcept { return _mm512_load_si512(p); }
  static Sums multiply_add(Operand row, Operand column, Sums sums) noexcept {
    // The intrinsic, whose result is another variable, makes GCC copy and spill all sums in each step of a
    // loop that is followed by more than their stores (half as fast).
    asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(row), "v"(column));
    return sums;
  }
  static void store(Sum* p, Sums sums) noexcept { _mm512_store_si512(p, sums); }
};

struct Int8Product : Int8Values<Avx512> {
  using Tile = Bytes;
  static constexpr std::size_t kTileRows = 12;
  static constexpr std::size_t panels(std::size_t rows) noexcept { return tile_panels<Bytes>(rows); }

  static TileCall<Tile> tile_call(const Call& call, const TilePlace& place) noexcept {
    return {.a = call.a.data + place.row * call.a.stride,
            .b = call.b->panel(place.panel),
            .next = place.fetches() ? call.b->panel(place.next) : nullptr,
            .out = nullptr,
            .lda = call.a.stride,
            .panel_stride = call.b->panel_bytes(),
            .steps = (call.b->k + kInt8Group - 1) / kInt8Group,
            .out_stride = 0};
  }
};

double multiply_adds(std::size_t rounds) noexcept {
  constexpr std::size_t kChains = 12;
  constexpr double kPerChain = 64;
  __m512i sums[kChains];
  unroll<kChains>([&](auto c) { sums[c] = _mm512_set1_epi32(static_cast<int>(c)); });
  __m512i x = _mm512_set1_epi8(3);
  hide(x);
  for (std::size_t round = 0; round < rounds; ++round) {
    unroll<kChains>([&](auto c) { sums[c] = _mm512_dpbusd_epi32(sums[c], x, x); });
  }
  unroll<kChains>([&](auto c) { hide(sums[c]); });
  return static_cast<double>(rounds) * kChains * kPerChain;
}

}  // namespace

const IsaInt8Kernels& avx512vnni_int8_kernels() noexcept {
  static constexpr IsaInt8Kernels kKernels = {
      .table = {.quantize = Int8Rounding<Avx512>::quantize, .gemm_block = Gemm<Avx512, Int8Product>::block},
      .multiply_adds = multiply_adds};
  return kKernels;
}

}  // namespace kvasir::kernels
