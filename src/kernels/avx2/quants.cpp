// Products with quants by vpmaddubsw, which adds pairs of products in 16 bits. With weights of up to 15, the
// sum of eight groups fits into 16 bits (16 · 15 · 127 = 30480 <= 32767), with up to 31 that of four (31496),
// with up to 63 that of two (32004). Bytes of Q8_0 do not fit (2 · 255 · 127): there the magnitudes of the
// weights are multiplied with the activations, which get the weights' signs, so that a pair is at most 2 ·
// 128 · 127 = 32512.
#include "kernels/vector/quants.h"

#include "kernels/avx2/simd.h"
#include "kernels/tables.h"

namespace kvasir::kernels {
namespace {

struct Bytes : Avx2 {
  static Ints load_bytes(const std::uint8_t* p) noexcept {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  }
  static Ints broadcast_word(const void* p) noexcept {
    return _mm256_castps_si256(_mm256_broadcast_ss(static_cast<const float*>(p)));
  }
  static Ints words(int x) noexcept { return _mm256_set1_epi32(x); }
  static Ints both(Ints a, Ints b) noexcept { return _mm256_and_si256(a, b); }
  static Ints either(Ints a, Ints b) noexcept { return _mm256_or_si256(a, b); }
  // All bytes, cut to the bits of `mask`.
  static Ints low_bits(Ints x, int mask) noexcept {
    return _mm256_and_si256(x, _mm256_set1_epi8(static_cast<char>(mask)));
  }
  template <std::size_t kHigh>
  static Ints nibble(Ints x) noexcept {
    return low_bits(kHigh == 0 ? x : _mm256_srli_epi16(x, 4), 15);
  }
  // Bit kFrom of each byte as its bit kTo, the others 0.
  template <int kFrom, int kTo>
  static Ints shift_bit(Ints x) noexcept {
    const Ints shifted = kFrom < kTo ? _mm256_slli_epi16(x, kFrom < kTo ? kTo - kFrom : 0)
                                     : _mm256_srli_epi16(x, kFrom > kTo ? kFrom - kTo : 0);
    return low_bits(shifted, 1 << kTo);
  }
  // table[x] for bytes x < 16.
  static Ints lookup(Ints x, const std::uint8_t (&table)[16]) noexcept {
    const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entries), x);
  }
  static Ints add_words(Ints a, int b) noexcept { return _mm256_add_epi32(a, words(b)); }
  // Shifts to the right by a number that is known at run time, given in all lanes: the instruction with one
  // number in a register of 128 bits is slower (Q4_K by a fifth).
  using Count = __m256i;
  static Count count(std::size_t bits) noexcept { return words(static_cast<int>(bits)); }
  static Ints shift(Ints x, Count bits) noexcept { return _mm256_srlv_epi32(x, bits); }
  static Ints shift_words(Ints x, std::size_t bits) noexcept { return _mm256_srlv_epi32(x, count(bits)); }
  template <int kBits>
  static Ints shift_words_left(Ints x) noexcept {
    return _mm256_slli_epi32(x, kBits);
  }
  static Ints signed_byte(Ints x, std::size_t i) noexcept {
    return _mm256_srai_epi32(_mm256_sllv_epi32(x, count(24 - 8 * i)), 24);
  }
  // The binary16 numbers in the halves of words.
  static Vec low_halves(Ints x) noexcept { return high_halves(_mm256_slli_epi32(x, 16)); }
  static Vec high_halves(Ints x) noexcept {
    const __m256i upper = _mm256_srli_epi32(x, 16);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(upper, upper), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
  }
};

template <class Type>
constexpr std::size_t kSummedGroups = Type::kMost <= 15   ? 8
                                      : Type::kMost <= 31 ? 4
                                      : Type::kMost <= 63 ? 2
                                                          : 1;

// The sums of neighbours, pair by pair.
template <std::size_t N, class Add>
inline __attribute__((always_inline)) __m256i add_all(const __m256i* x, const Add& add) noexcept {
  if constexpr (N == 1) {
    return x[0];
  } else {
    return add(add_all<N / 2>(x, add), add_all<N / 2>(x + N / 2, add));
  }
}

// Σ of the products of some groups, as words.
template <class Type, std::size_t N>
inline __attribute__((always_inline)) __m256i products(const __m256i (&w)[N], const std::int8_t* x) noexcept {
  constexpr std::size_t kSummed = N < kSummedGroups<Type> ? N : kSummedGroups<Type>;
  __m256i pairs[N];
  unroll<N>([&](auto g) {
    const __m256i row = Bytes::broadcast_word(x + g * kInt8Group);
    if constexpr (Type::kMost > 127) {
      pairs[g] = _mm256_maddubs_epi16(_mm256_abs_epi8(w[g]), _mm256_sign_epi8(row, w[g]));
    } else {
      pairs[g] = _mm256_maddubs_epi16(w[g], row);
    }
  });
  __m256i words[N / kSummed];
  unroll<N / kSummed>([&](auto i) {
    const auto add = [](__m256i a, __m256i b) { return _mm256_add_epi16(a, b); };
    words[i] = _mm256_madd_epi16(add_all<kSummed>(pairs + i * kSummed, add), _mm256_set1_epi16(1));
  });
  return add_all<N / kSummed>(words, [](__m256i a, __m256i b) { return _mm256_add_epi32(a, b); });
}

// One vector of columns at a time: its weights of a scale stay in registers while all rows are multiplied
// with them. This is a quarter faster than tiles of sums, for which 16 registers are too few, and far less
// code.
template <class B, class Type>
struct Avx2Tile {
  static constexpr std::size_t kTileRows = 16;  // enough to make up for unpacking; 8 are up to 4 % slower
  static constexpr bool kRowsAreConstant = false;
  static constexpr std::size_t panels(std::size_t) noexcept { return 1; }
  static constexpr std::size_t kVectors = kPanelColumns / B::kLanes;

  template <std::size_t, std::size_t P>
  static void sum(const QuantGemmCall& call, const TilePlace& place, float* out) noexcept {
    static_assert(P == 1);
    if (place.rows == 1) return sum_rows<true, true>(call, place, out);
    place.first ? sum_rows<false, true>(call, place, out) : sum_rows<false, false>(call, place, out);
  }

  template <bool kOneRow, bool kFetch>
  static void sum_rows(const QuantGemmCall& call, const TilePlace& place, float* out) noexcept {
    const std::size_t stride = call.a.stride, head_stride = call.a.quant_stride;
    const std::int8_t* data = call.a.data + place.row * stride;
    const RowQuant* heads = call.a.quants + place.row * head_stride;
    const std::size_t rows = kOneRow ? 1 : place.rows;
    const QuantPanels<Type> panels(*call.b);
    Ahead<Type, 1> ahead(panels);
    const std::uint8_t* words[kVectors];
    const std::uint16_t* halves[kVectors];
    unroll<kVectors>([&](auto v) {
      words[v] = panels.panel(place.panel) + v * B::kLanes * 4;
      halves[v] = panels.half_panel(place.panel) + v * B::kLanes;
    });
    for (std::size_t i = 0; i < rows * kPanelColumns; i += B::kLanes) B::store(out + i, B::zero());
    for (std::size_t quant = 0; quant < panels.quants; ++quant) {
      const QuantHeads<Type, kVectors> quant_heads(words, halves);
      for (std::size_t t = 0; t < Type::kScales; ++t) {
        const Type type(t);
        const __m256i factors = offset_factors<B, Type>(t);
        if constexpr (kFetch) ahead.fetch(quant, t, {words[0]}, {halves[0]});
        unroll<kVectors>([&](auto v) {
          __m256i weights[Type::kGroups];
          unroll<Type::kGroups>([&](auto g) { weights[g] = weight(type.template group<g>(words[v])); });
          const QuantScales<B, Type, 1> scales(type, quant_heads.of + v, words + v);
          const std::int8_t* row = data;
          const RowQuant* head = heads;
          float* sums = out + v * B::kLanes;
          for (std::size_t r = 0; r < rows; ++r) {
            __m256i sum[] = {products<Type>(weights, row)};
            if constexpr (Type::kOffset != 0 && Type::kMost <= 127) {
              sum[0] = _mm256_add_epi32(sum[0], _mm256_madd_epi16(B::broadcast_word(head->halves), factors));
            }
            scales.add(sum, *head, t, sums);
            row += stride;
            head += head_stride;
            sums += kPanelColumns;
          }
        });
        data += Type::kGroups * kInt8Group;
        if (Type::kGroups == 8 || t % 2 == 1) ++heads;
      }
      unroll<kVectors>([&](auto v) {
        words[v] += Type::kLayout.words * kWordBytes;
        if (Type::kLayout.has_half) halves[v] += kPanelColumns;
      });
    }
  }

  // Signed, where the bias of the weights is removed again.
  static __m256i weight(__m256i x) noexcept {
    return Type::kMost > 127 ? _mm256_xor_si256(x, _mm256_set1_epi8(-128)) : x;
  }
};

}  // namespace

const QuantKernels& avx2_quant_kernels() noexcept {
  static constexpr QuantKernels kKernels = {.quantize = QuantRounding<Avx2>::quantize,
                                            .gemm_block = quant_gemm<Bytes, Avx2Tile>};
  return kKernels;
}

}  // namespace kvasir::kernels
