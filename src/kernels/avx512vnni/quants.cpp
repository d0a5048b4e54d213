// Products with quants by vpdpbusd.
#include "kernels/vector/quants.h"

#include "kernels/avx512/simd.h"
#include "kernels/tables.h"

namespace kvasir::kernels {
namespace {

struct Bytes : Avx512 {
  static Ints load_bytes(const std::uint8_t* p) noexcept { return _mm512_load_si512(p); }
  static Ints words(int x) noexcept { return _mm512_set1_epi32(x); }
  static Ints both(Ints a, Ints b) noexcept { return _mm512_and_si512(a, b); }
  static Ints either(Ints a, Ints b) noexcept { return _mm512_or_si512(a, b); }
  // All bytes, cut to the bits of `mask`.
  static Ints low_bits(Ints x, int mask) noexcept {
    return _mm512_and_si512(x, _mm512_set1_epi8(static_cast<char>(mask)));
  }
  template <std::size_t kHigh>
  static Ints nibble(Ints x) noexcept {
    return low_bits(kHigh == 0 ? x : _mm512_srli_epi16(x, 4), 15);
  }
  // Bit kFrom of each byte as its bit kTo, the others 0.
  template <int kFrom, int kTo>
  static Ints shift_bit(Ints x) noexcept {
    const Ints shifted = kFrom < kTo ? _mm512_slli_epi16(x, kFrom < kTo ? kTo - kFrom : 0)
                                     : _mm512_srli_epi16(x, kFrom > kTo ? kFrom - kTo : 0);
    return low_bits(shifted, 1 << kTo);
  }
  // table[x] for bytes x < 16.
  static Ints lookup(Ints x, const std::uint8_t (&table)[16]) noexcept {
    const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(entries), x);
  }
  static Ints add_words(Ints a, int b) noexcept { return _mm512_add_epi32(a, words(b)); }
  // Shifts to the right by a number that is known at run time, given in all lanes: the instruction with one
  // number in a register of 128 bits is slower (Q4_K by a fifth).
  using Count = __m512i;
  static Count count(std::size_t bits) noexcept { return words(static_cast<int>(bits)); }
  static Ints shift(Ints x, Count bits) noexcept { return _mm512_srlv_epi32(x, bits); }
  static Ints shift_words(Ints x, std::size_t bits) noexcept { return _mm512_srlv_epi32(x, count(bits)); }
  template <int kBits>
  static Ints shift_words_left(Ints x) noexcept {
    return _mm512_slli_epi32(x, kBits);
  }
  static Ints signed_byte(Ints x, std::size_t i) noexcept {
    return _mm512_srai_epi32(_mm512_sllv_epi32(x, count(24 - 8 * i)), 24);
  }
  // The binary16 numbers in the halves of words.
  static Vec low_halves(Ints x) noexcept { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)); }
  static Vec high_halves(Ints x) noexcept { return low_halves(_mm512_srli_epi32(x, 16)); }
};

template <class B, class Type>
struct VnniTile {
  static constexpr std::size_t kTileRows = 8;  // 16 sums of two panels
  static constexpr bool kRowsAreConstant = true;
  // With few rows, panels are read as fast as the memory allows: one after the other is an eighth faster than
  // two at once.
  static constexpr std::size_t panels(std::size_t rows) noexcept { return rows <= 4 ? 1 : 2; }

  template <std::size_t R, std::size_t P>
  static void sum(const QuantGemmCall& call, const TilePlace& place, float* out) noexcept {
    const bool fetch = place.first;
    RowPointers<std::int8_t, R> rows(call.a.data + place.row * call.a.stride, call.a.stride);
    const RowQuant* heads = call.a.quants + place.row * call.a.quant_stride;
    const std::size_t head_stride = call.a.quant_stride;
    const QuantPanels<Type> panels(*call.b);
    Ahead<Type, P> ahead(panels);
    const std::uint8_t* words[P];
    const std::uint16_t* halves[P];
    unroll<P>([&](auto p) {
      words[p] = panels.panel(place.panel + p);
      halves[p] = panels.half_panel(place.panel + p);
    });
    unroll<R>(
        [&](auto r) { unroll<P>([&](auto p) { B::store(out + (r * P + p) * kPanelColumns, B::zero()); }); });
    for (std::size_t quant = 0; quant < panels.quants; ++quant) {
      const QuantHeads<Type, P> quant_heads(words, halves);
      for (std::size_t t = 0; t < Type::kScales; ++t) {
        const Type type(t);
        if (fetch) ahead.fetch(quant, t, words, halves);
        __m512i sums[R][P];
        start<R, P>(heads, head_stride, t, sums);
        unroll<Type::kGroups>([&](auto g) {
          __m512i weights[P];
          unroll<P>([&](auto p) { weights[p] = type.template group<g>(words[p]); });
          unroll<R>([&](auto r) {
            const __m512i x = B::broadcast_word(rows.at(r) + g * kInt8Group);
            unroll<P>([&](auto p) { sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], weights[p], x); });
          });
        });
        const QuantScales<B, Type, P> scales(type, quant_heads.of, words);
        unroll<R>(
            [&](auto r) { scales.add(sums[r], heads[r * head_stride], t, out + r * P * kPanelColumns); });
        rows.advance(Type::kGroups * kInt8Group);
        if (Type::kGroups == 8 || t % 2 == 1) ++heads;
      }
      unroll<P>([&](auto p) {
        words[p] += Type::kLayout.words * kWordBytes;
        if (Type::kLayout.has_half) halves[p] += kPanelColumns;
      });
    }
  }

  // The offsets of the weights, times the activations that they will be multiplied with.
  template <std::size_t R, std::size_t P>
  static void start(const RowQuant* heads, std::size_t stride, std::size_t t,
                    __m512i (&sums)[R][P]) noexcept {
    const __m512i factors = offset_factors<B, Type>(t);
    unroll<R>([&](auto r) {
      const __m512i first = Type::kOffset == 0
                                ? _mm512_setzero_si512()
                                : _mm512_madd_epi16(B::broadcast_word(heads[r * stride].halves), factors);
      unroll<P>([&](auto p) { sums[r][p] = first; });
    });
  }
};

}  // namespace

const QuantKernels& avx512vnni_quant_kernels() noexcept {
  static constexpr QuantKernels kKernels = {.quantize = QuantRounding<Avx512>::quantize,
                                            .gemm_block = quant_gemm<Bytes, VnniTile>};
  return kKernels;
}

}  // namespace kvasir::kernels
