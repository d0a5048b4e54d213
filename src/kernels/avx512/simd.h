// AVX-512 under the names that the templates of kernels/vector use. Only files of this folder include it.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace kvasir::kernels {
namespace {  // internal linkage, see kernels/vector/README.md

struct Avx512 {
  using Vec = __m512;
  using Mask = __mmask16;
  static constexpr std::size_t kLanes = 16;
  static constexpr std::size_t kRegisters = 32;
  static constexpr std::size_t kTileRows = 12;

  // The first n lanes, n <= 16.
  static Mask first(std::size_t n) noexcept { return static_cast<Mask>((1U << n) - 1U); }

  static Vec zero() noexcept { return _mm512_setzero_ps(); }
  static Vec set(float x) noexcept { return _mm512_set1_ps(x); }
  static Vec load(const float* p) noexcept { return _mm512_loadu_ps(p); }
  // Lanes outside the mask are zero and not read.
  static Vec load(const float* p, Mask m) noexcept { return _mm512_maskz_loadu_ps(m, p); }
  static void store(float* p, Vec x) noexcept { _mm512_storeu_ps(p, x); }
  static void store(float* p, Vec x, Mask m) noexcept { _mm512_mask_storeu_ps(p, m, x); }

  static Vec add(Vec a, Vec b) noexcept { return _mm512_add_ps(a, b); }
  static Vec sub(Vec a, Vec b) noexcept { return _mm512_sub_ps(a, b); }
  static Vec mul(Vec a, Vec b) noexcept { return _mm512_mul_ps(a, b); }
  static Vec div(Vec a, Vec b) noexcept { return _mm512_div_ps(a, b); }
  static Vec fma(Vec a, Vec b, Vec c) noexcept { return _mm512_fmadd_ps(a, b, c); }
  static Vec negated_fma(Vec a, Vec b, Vec c) noexcept { return _mm512_fnmadd_ps(a, b, c); }  // c - a b
  // NaN in b is returned; NaN in a gives b.
  static Vec max(Vec a, Vec b) noexcept { return _mm512_max_ps(a, b); }
  static Vec min(Vec a, Vec b) noexcept { return _mm512_min_ps(a, b); }
  static Vec abs(Vec x) noexcept { return _mm512_abs_ps(x); }
  static Vec sqrt(Vec x) noexcept { return _mm512_sqrt_ps(x); }
  static Vec round(Vec x) noexcept {  // to the nearest integer, ties to even
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // x · 2^n for integral n.
  static Vec scale(Vec x, Vec n) noexcept { return _mm512_scalef_ps(x, n); }

  static float sum(Vec x) noexcept { return _mm512_reduce_add_ps(x); }
  static float max(Vec x) noexcept { return _mm512_reduce_max_ps(x); }
  // Lanes outside the mask become `other`.
  static Vec select(Mask m, Vec x, Vec other) noexcept { return _mm512_mask_mov_ps(other, m, x); }
  // x where y >= bound, else 0.
  static Vec zero_below(Vec x, Vec y, Vec bound) noexcept {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(y, bound, _CMP_NLT_UQ), x);  // NaN counts as above
  }
  // Lanes of 32-bit integers.
  using Ints = __m512i;
  // Four bytes in all lanes; p is a multiple of 4.
  static Ints broadcast_word(const void* p) noexcept {
    return _mm512_castps_si512(_mm512_broadcastss_ps(_mm_load_ss(static_cast<const float*>(p))));
  }
  static Ints load_ints(const std::int32_t* p) noexcept { return _mm512_loadu_si512(p); }
  static Ints add(Ints a, Ints b) noexcept { return _mm512_add_epi32(a, b); }
  static Ints set_ints(std::uint32_t x) noexcept { return _mm512_set1_epi32(static_cast<int>(x)); }
  static Ints mul_low(Ints a, Ints b) noexcept { return _mm512_mullo_epi32(a, b); }
  static Ints exclusive_or(Ints a, Ints b) noexcept { return _mm512_xor_si512(a, b); }
  template <unsigned kBits>
  static Ints shift_right(Ints x) noexcept {
    return _mm512_srli_epi32(x, kBits);
  }
  // x where the unsigned y >= bound, else 0.
  static Vec zero_below(Vec x, Ints y, Ints bound) noexcept {
    return _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask(y, bound), x);
  }
  static Vec to_floats(Ints x) noexcept { return _mm512_cvtepi32_ps(x); }
  // Rounded to nearest, ties to even.
  static Ints to_ints(Vec x) noexcept { return _mm512_cvtps_epi32(x); }
  // The lanes as bytes, at least 0 and at most 255.
  static void store_bytes(std::uint8_t* p, Ints x) noexcept {
    const Ints positive = _mm512_max_epi32(x, _mm512_setzero_si512());
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtusepi32_epi8(positive));
  }
  // The same as signed bytes.
  static void store_signed_bytes(std::int8_t* p, Ints x) noexcept {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(x));
  }
  static float min(Vec x) noexcept { return _mm512_reduce_min_ps(x); }
  // To the nearest half, ties to even.
  static void store_half(void* p, Vec x) noexcept {
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  // 16 halves, IEEE binary16.
  static Vec load_half(const void* p) noexcept {
    return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  }
  // 16 signed bytes.
  static Vec load_signed_bytes(const void* p) noexcept {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))));
  }
  // 16 bfloat16s.
  static Vec load_bfloat16(const void* p) noexcept {
    const __m256i bits = _mm256_loadu_si256(static_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
};

}  // namespace
}  // namespace kvasir::kernels
