// Products of bfloat16 with vdpbf16ps: 32 multiply-adds an instruction, sums in fp32.
#include "kernels/avx512/simd.h"
#include "kernels/tables.h"
#include "kernels/vector/attention.h"
#include "kernels/vector/gemm.h"

namespace kvasir::kernels {
namespace {

struct Bf16 {
  using Row = std::uint16_t;
  using Column = std::uint16_t;
  using Sum = float;
  using Operand = __m512i;
  using Sums = __m512;
  static constexpr std::size_t kGroup = kBf16Group;
  static constexpr std::size_t kLanes = 16;
  static constexpr std::size_t kRegisters = 32;

  static Sums zero() noexcept { return _mm512_setzero_ps(); }
  static Operand row(const Row* p) noexcept { return Avx512::broadcast_word(p); }
  static Operand column(const Column* p) noexcept { return _mm512_loadu_si512(p); }
  static Sums multiply_add(Operand row, Operand column, Sums sums) noexcept {
    return _mm512_dpbf16_ps(sums, (__m512bh)row, (__m512bh)column);
  }
  static void store(Sum* p, Sums sums) noexcept { _mm512_storeu_ps(p, sums); }
};

__m256i round(__m512 x) noexcept {
  return (__m256i)_mm512_cvtneps_pbh(x);
}
// Two rows of columns, element by element: (a0, b0), (a1, b1), …
__m512i interleave(__m512 a, __m512 b) noexcept {
  alignas(64) static constexpr std::uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                           21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                           11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), (__m512i)_mm512_cvtne2ps_pbh(b, a));
}

void convert(const Bf16Convert& call) noexcept {
  const std::size_t stride = bf16_stride(call.columns);
  for (std::size_t r = 0; r < call.rows; ++r) {
    const float* x = call.x + r * call.ldx;
    std::uint16_t* y = call.y + r * stride;
    std::size_t j = 0;
    for (; j + Avx512::kLanes <= call.columns; j += Avx512::kLanes) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + j), round(Avx512::load(x + j)));
    }
    for (; j < stride; j += Avx512::kLanes) {
      const std::size_t left = call.columns > j ? call.columns - j : 0;
      const Avx512::Mask mask = Avx512::first(left < Avx512::kLanes ? left : Avx512::kLanes);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + j), round(Avx512::load(x + j, mask)));
    }
  }
}

struct Bf16Product {
  using Tile = Bf16;
  using Call = Bf16GemmCall;
  using Sum = float;
  static constexpr std::size_t kTileRows = 12;
  static constexpr std::size_t panels(std::size_t rows) noexcept { return tile_panels<Bf16>(rows); }

  static std::size_t row_bytes(const Call& call) noexcept { return call.lda * sizeof(std::uint16_t); }
  static TileCall<Tile> tile_call(const Call& call, const TilePlace& place) noexcept {
    return float_tile<Tile>(call, place);
  }
  static auto values(const Call&, std::size_t) noexcept { return add_bias<Avx512>; }
};

struct Bf16Operands {
  static constexpr bool kReadsPages = false, kRoughWeights = true;
  using Tile = Bf16;

  // [head_dim / 2][16][2]: by way of floats, transposed 16 rows at a time.
  static void pack_keys(const float* k, std::size_t stride, std::size_t keys, std::size_t head_dim,
                        std::uint16_t* panel) noexcept {
    constexpr std::size_t kChunk = 16;
    alignas(64) float rows[kChunk * kPanelColumns];
    for (std::size_t d = 0; d < head_dim; d += kChunk) {
      const std::size_t count = head_dim - d < kChunk ? head_dim - d : kChunk;
      pack_panel<Avx512>(k + d, stride, keys, count, rows);
      for (std::size_t i = 0; i < count; i += 2) {
        const __m512 first = Avx512::load(rows + i * kPanelColumns);
        const __m512 second = i + 1 < count ? Avx512::load(rows + (i + 1) * kPanelColumns) : Avx512::zero();
        _mm512_storeu_si512(panel + (d + i) * kPanelColumns, interleave(first, second));
      }
    }
  }
  // [keys / 2][16][2].
  static void pack_values(const float* v, std::size_t stride, std::size_t keys, Avx512::Mask columns,
                          std::uint16_t* panel) noexcept {
    for (std::size_t j = 0; j < keys; j += 2) {
      const __m512 first = Avx512::load(v + j * stride, columns);
      const __m512 second = j + 1 < keys ? Avx512::load(v + (j + 1) * stride, columns) : Avx512::zero();
      _mm512_storeu_si512(panel + j * kPanelColumns, interleave(first, second));
    }
  }
  static void put(std::uint16_t* p, __m512 x, AllLanes<Avx512>) noexcept {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), round(x));
  }
  static void put(std::uint16_t* p, __m512 x, Avx512::Mask lanes) noexcept {
    _mm256_mask_storeu_epi16(p, lanes, round(x));
  }
  static void pad(std::uint16_t* row, std::size_t count) noexcept {
    if (count % kBf16Group != 0) _mm256_mask_storeu_epi16(row + count, 1, _mm256_setzero_si256());
  }
};

double multiply_adds(std::size_t rounds) noexcept {
  constexpr std::size_t kChains = 12;
  constexpr double kPerChain = 32;
  __m512 sums[kChains];
  unroll<kChains>([&](auto c) { sums[c] = _mm512_set1_ps(static_cast<float>(c)); });
  __m512i x = _mm512_set1_epi16(0x3E80);  // 0.25
  hide(x);
  for (std::size_t round_number = 0; round_number < rounds; ++round_number) {
    unroll<kChains>([&](auto c) { sums[c] = Bf16::multiply_add(x, x, sums[c]); });
  }
  unroll<kChains>([&](auto c) { hide(sums[c]); });
  return static_cast<double>(rounds) * kChains * kPerChain;
}

}  // namespace

const IsaBf16Kernels& avx512bf16_kernels() noexcept {
  static constexpr IsaBf16Kernels kKernels = {.table = {.convert = convert,
                                                        .gemm_block = Gemm<Avx512, Bf16Product>::block,
                                                        .attention = Attention<Avx512, Bf16Operands>::run},
                                              .multiply_adds = multiply_adds};
  return kKernels;
}

}  // namespace kvasir::kernels
