// Products of blocks with vpmaddubsw, whose pairs of products have 16 bits. Weights of up to 15 leave room
// for the sum of four groups in them (8 · 15 · 127 = 15240 <= 32767), those of up to 63 for two (32004).
// Bytes of Q8_0 do not fit (2 · 255 · 127): there the magnitudes of the weights meet the activations with the
// weights' signs, of which a pair is at most 2 · 128 · 127 = 32512.
#include "kernels/vector/blocks.h"

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
  // Shifts to the right by a number that is known at run time, in all lanes: by one in a register of 128 bits
  // for all is slower (Q4_K by a fifth).
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

// Σ of the products of four groups, as words.
template <class Type>
__m256i products(const __m256i (&w)[4], const std::int8_t* x) noexcept {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i pairs[4];
  unroll<4>([&](auto g) {
    const __m256i row = Bytes::broadcast_word(x + g * kInt8Group);
    if constexpr (Type::kMost > 127) {
      pairs[g] = _mm256_maddubs_epi16(_mm256_abs_epi8(w[g]), _mm256_sign_epi8(row, w[g]));
    } else {
      pairs[g] = _mm256_maddubs_epi16(w[g], row);
    }
  });
  if constexpr (Type::kMost > 127) {
    unroll<4>([&](auto g) { pairs[g] = _mm256_madd_epi16(pairs[g], ones); });
    return _mm256_add_epi32(_mm256_add_epi32(pairs[0], pairs[1]), _mm256_add_epi32(pairs[2], pairs[3]));
  }
  const __m256i first = _mm256_add_epi16(pairs[0], pairs[1]), last = _mm256_add_epi16(pairs[2], pairs[3]);
  if constexpr (Type::kMost > 31)
    return _mm256_add_epi32(_mm256_madd_epi16(first, ones), _mm256_madd_epi16(last, ones));
  return _mm256_madd_epi16(_mm256_add_epi16(first, last), ones);
}

template <class B, class Type>
struct Avx2Tile {
  static constexpr std::size_t kTileRows = 4;  // 8 sums, four vectors of weights, what becomes of one of them
  static constexpr std::size_t panels(std::size_t) noexcept { return 1; }
  static constexpr std::size_t kVectors = kPanelColumns / B::kLanes;
  static constexpr std::size_t kStretch = 4;  // groups that are added up before they become words

  template <std::size_t R, std::size_t P>
  static void sum(const BlockGemmCall& call, const TilePlace& place, float* out) noexcept {
    static_assert(P == 1);
    place.first ? sum_rows<R, true>(call, place, out) : sum_rows<R, false>(call, place, out);
  }

  template <std::size_t R, bool kFetch>
  static void sum_rows(const BlockGemmCall& call, const TilePlace& place, float* out) noexcept {
    RowPointers<std::int8_t, R> rows(call.a.data + place.row * call.a.stride, call.a.stride);
    const RowBlock* heads = call.a.blocks + place.row * call.a.block_stride;
    const std::size_t head_stride = call.a.block_stride, blocks = call.b->blocks();
    Ahead<Type, 1> ahead(*call.b);
    const std::uint8_t* words[kVectors];
    const std::uint16_t* halves[kVectors];
    unroll<kVectors>([&](auto v) {
      words[v] = call.b->panel(place.panel) + v * B::kLanes * 4;
      halves[v] = call.b->half_panel(place.panel) + v * B::kLanes;
    });
    unroll<R>([&](auto r) {
      unroll<kVectors>([&](auto v) { B::store(out + r * kPanelColumns + v * B::kLanes, B::zero()); });
    });
    for (std::size_t block = 0; block < blocks; ++block) {
      const BlockHeads<Type, kVectors> block_heads(words, halves);
      for (std::size_t t = 0; t < Type::kScales; ++t) {
        const Type type(t);
        if constexpr (kFetch) ahead.fetch(block, t, {words[0]}, {halves[0]});
        __m256i sums[R][kVectors];
        start<R>(heads, head_stride, t, sums);
        unroll<Type::kGroups / kStretch>([&](auto s) {
          unroll<kVectors>([&](auto v) {
            __m256i weights[kStretch];
            unroll<kStretch>(
                [&](auto g) { weights[g] = weight(type.template group<s * kStretch + g>(words[v])); });
            unroll<R>([&](auto r) {
              sums[r][v] = _mm256_add_epi32(sums[r][v],
                                            products<Type>(weights, rows.at(r) + s * kStretch * kInt8Group));
            });
          });
        });
        const BlockScales<B, Type, kVectors> scales(type, block_heads, words);
        unroll<R>([&](auto r) { scales.add(sums[r], heads[r * head_stride], t, out + r * kPanelColumns); });
        rows.advance(Type::kGroups * kInt8Group);
        if (Type::kGroups == 8 || t % 2 == 1) ++heads;
      }
      unroll<kVectors>([&](auto v) {
        words[v] += Type::kLayout.words * kWordBytes;
        if (Type::kLayout.has_half) halves[v] += kPanelColumns;
      });
    }
  }

  // Signed where the sign is taken off again.
  static __m256i weight(__m256i x) noexcept {
    return Type::kMost > 127 ? _mm256_xor_si256(x, _mm256_set1_epi8(-128)) : x;
  }
  // The offsets of the weights, times what they will be multiplied with.
  template <std::size_t R>
  static void start(const RowBlock* heads, std::size_t stride, std::size_t t,
                    __m256i (&sums)[R][kVectors]) noexcept {
    const __m256i factors = offset_factors<B, Type>(t);
    unroll<R>([&](auto r) {
      const __m256i first = Type::kOffset == 0 || Type::kMost > 127
                                ? _mm256_setzero_si256()
                                : _mm256_madd_epi16(B::broadcast_word(heads[r * stride].halves), factors);
      unroll<kVectors>([&](auto v) { sums[r][v] = first; });
    });
  }
};

}  // namespace

const BlockKernels& avx2_block_kernels() noexcept {
  static constexpr BlockKernels kKernels = {.quantize = BlockRounding<Avx2>::quantize,
                                            .gemm_block = block_gemm<Bytes, Avx2Tile>};
  return kKernels;
}

}  // namespace kvasir::kernels
