// Products of bytes in two steps: vpmaddubsw of two groups of four, their sum in 16 bits, then vpmaddwd.
// Where packing found that 16 bits may not hold the sum, each group is widened by itself. 5 instructions
// instead of 6 for 64 multiply-adds: 118 against 95 GMAC/s a core as the register-only loops of Zen 3 go.
#include "kernels/vector/int8.h"

#include "kernels/avx2/simd.h"
#include "kernels/tables.h"

namespace kvasir::kernels {
namespace {

__m256i load_bytes(const std::int8_t* p) noexcept {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}

// Four bytes of a row in all lanes.
__m256i broadcast(const std::uint8_t* p) noexcept {
  return _mm256_castps_si256(_mm256_broadcast_ss(reinterpret_cast<const float*>(p)));
}

struct Int8Product : Int8Values<Avx2> {
  static constexpr std::size_t kTileRows = 4;  // 8 sums, 4 vectors of columns, 3 more
  static constexpr std::size_t panels(std::size_t) noexcept { return 1; }
  static constexpr std::size_t kHalf = 32;                           // bytes of 8 columns
  static constexpr std::size_t kGroup = kInt8Group * kPanelColumns;  // bytes of a group of 16 columns

  template <std::size_t R, bool kPrefetch>
  static void tile(const Call& call, const TilePlace& place, std::int32_t* out) noexcept {
    RowPointers<std::uint8_t, R> rows(call.a.data + place.row * call.a.stride, call.a.stride);
    const std::int8_t* b = call.b->panel(place.panel);
    const std::int8_t* next = kPrefetch ? call.b->panel(place.next) : nullptr;
    const std::uint8_t* wide = call.b->panel_wide(place.panel);
    const std::size_t steps = call.b->steps();
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums[R][2];
    unroll<R>([&](auto r) { sums[r][0] = sums[r][1] = _mm256_setzero_si256(); });
    for (std::size_t step = 0; step < steps; ++step) {
      const __m256i first[2] = {load_bytes(b), load_bytes(b + kHalf)};
      const __m256i second[2] = {load_bytes(b + kGroup), load_bytes(b + kGroup + kHalf)};
      if (wide[step] == 0) {
        unroll<R>([&](auto r) {
          const __m256i x = broadcast(rows.at(r)), y = broadcast(rows.at(r) + kInt8Group);
          unroll<2>([&](auto v) {
            const __m256i both =
                _mm256_add_epi16(_mm256_maddubs_epi16(x, first[v]), _mm256_maddubs_epi16(y, second[v]));
            sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(both, ones));
          });
        });
      } else {
        unroll<R>([&](auto r) {
          const __m256i x = broadcast(rows.at(r)), y = broadcast(rows.at(r) + kInt8Group);
          unroll<2>([&](auto v) {
            const __m256i one = _mm256_madd_epi16(_mm256_maddubs_epi16(x, first[v]), ones);
            const __m256i other = _mm256_madd_epi16(_mm256_maddubs_epi16(y, second[v]), ones);
            sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_add_epi32(one, other));
          });
        });
      }
      if constexpr (kPrefetch) {
        __builtin_prefetch(next, 0, 2);
        __builtin_prefetch(next + kGroup, 0, 2);
        next += 2 * kGroup;
      }
      rows.advance(kInt8Step);
      b += 2 * kGroup;
    }
    unroll<R>([&](auto r) {
      unroll<2>([&](auto v) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(out + r * kPanelColumns + v * 8), sums[r][v]);
      });
    });
  }

  template <std::size_t Most, std::size_t P>
  static void sum_tile(const Call& call, const TilePlace& place, std::int32_t* sums) noexcept {
    static_assert(P == 1);
    if constexpr (Most > 1) {
      if (place.rows < Most) return sum_tile<Most - 1, P>(call, place, sums);
    }
    if (place.fetches()) {
      tile<Most, true>(call, place, sums);
    } else {
      tile<Most, false>(call, place, sums);
    }
  }
};

// 10 independent chains, as in fp32; the operands are hidden from the compiler, which would fold the loop.
double multiply_adds(std::size_t rounds) noexcept {
  constexpr std::size_t kChains = 10;
  constexpr double kPerChain = 2 * 32;  // bytes of two vectors
  __m256i sums[kChains];
  unroll<kChains>([&](auto c) { sums[c] = _mm256_set1_epi32(static_cast<int>(c)); });
  __m256i x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(1);
  const __m256i ones = _mm256_set1_epi16(1);
  for (std::size_t round = 0; round < rounds; ++round) {
    unroll<kChains>([&](auto c) {
      hide(x);
      hide(y);
      const __m256i both = _mm256_add_epi16(_mm256_maddubs_epi16(x, y), _mm256_maddubs_epi16(y, x));
      sums[c] = _mm256_add_epi32(sums[c], _mm256_madd_epi16(both, ones));
    });
  }
  unroll<kChains>([&](auto c) { hide(sums[c]); });
  return static_cast<double>(rounds) * kChains * kPerChain;
}

}  // namespace

const IsaInt8Kernels& avx2_int8_kernels() noexcept {
  static constexpr IsaInt8Kernels kKernels = {
      .table = {.quantize = Int8Rounding<Avx2>::quantize, .gemm_block = Gemm<Avx2, Int8Product>::block},
      .multiply_adds = multiply_adds};
  return kKernels;
}

}  // namespace kvasir::kernels
