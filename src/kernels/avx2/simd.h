// AVX2 with FMA and F16C under the names that the templates of kernels/vector use. Only files of this folder
// include it.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace kvasir::kernels {
namespace {  // internal linkage, see kernels/vector/README.md

struct Avx2 {
  using Vec = __m256;
  using Mask = __m256i;
  static constexpr std::size_t kLanes = 8;
  static constexpr std::size_t kRegisters = 16;
  static constexpr std::size_t kTileRows = 6;

  // The first n lanes, n <= 8.
  static Mask first(std::size_t n) noexcept {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }

  static Vec zero() noexcept { return _mm256_setzero_ps(); }
  static Vec set(float x) noexcept { return _mm256_set1_ps(x); }
  static Vec load(const float* p) noexcept { return _mm256_loadu_ps(p); }
  // Lanes outside the mask are zero and not read.
  static Vec load(const float* p, Mask m) noexcept { return _mm256_maskload_ps(p, m); }
  static void store(float* p, Vec x) noexcept { _mm256_storeu_ps(p, x); }
  static void store(float* p, Vec x, Mask m) noexcept { _mm256_maskstore_ps(p, m, x); }

  static Vec add(Vec a, Vec b) noexcept { return _mm256_add_ps(a, b); }
  static Vec sub(Vec a, Vec b) noexcept { return _mm256_sub_ps(a, b); }
  static Vec mul(Vec a, Vec b) noexcept { return _mm256_mul_ps(a, b); }
  static Vec div(Vec a, Vec b) noexcept { return _mm256_div_ps(a, b); }
  static Vec fma(Vec a, Vec b, Vec c) noexcept { return _mm256_fmadd_ps(a, b, c); }
  static Vec negated_fma(Vec a, Vec b, Vec c) noexcept { return _mm256_fnmadd_ps(a, b, c); }  // c - a b
  // NaN in b is returned; NaN in a gives b.
  static Vec max(Vec a, Vec b) noexcept { return _mm256_max_ps(a, b); }
  static Vec min(Vec a, Vec b) noexcept { return _mm256_min_ps(a, b); }
  static Vec abs(Vec x) noexcept { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), x); }
  static Vec sqrt(Vec x) noexcept { return _mm256_sqrt_ps(x); }
  static Vec round(Vec x) noexcept {  // to the nearest integer, ties to even
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // x · 2^n for integral n in [-126, 127].
  static Vec scale(Vec x, Vec n) noexcept {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
  }

  static float sum(Vec x) noexcept {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static float max(Vec x) noexcept {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
  }
  // Lanes outside the mask become `other`.
  static Vec select(Mask m, Vec x, Vec other) noexcept {
    return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(m));
  }
  // x where y >= bound, else 0.
  static Vec zero_below(Vec x, Vec y, Vec bound) noexcept {
    return _mm256_and_ps(_mm256_cmp_ps(y, bound, _CMP_NLT_UQ), x);  // NaN counts as above
  }
  // Lanes of 32-bit integers.
  using Ints = __m256i;
  static Ints load_ints(const std::int32_t* p) noexcept {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static Ints add(Ints a, Ints b) noexcept { return _mm256_add_epi32(a, b); }
  static Ints set_ints(std::uint32_t x) noexcept { return _mm256_set1_epi32(static_cast<int>(x)); }
  static Ints mul_low(Ints a, Ints b) noexcept { return _mm256_mullo_epi32(a, b); }
  static Ints exclusive_or(Ints a, Ints b) noexcept { return _mm256_xor_si256(a, b); }
  template <unsigned kBits>
  static Ints shift_right(Ints x) noexcept {
    return _mm256_srli_epi32(x, kBits);
  }
  // x where the unsigned y >= bound, else 0.
  static Vec zero_below(Vec x, Ints y, Ints bound) noexcept {
    const Ints is_above = _mm256_cmpeq_epi32(_mm256_max_epu32(y, bound), y);
    return _mm256_and_ps(_mm256_castsi256_ps(is_above), x);
  }
  static Vec to_floats(Ints x) noexcept { return _mm256_cvtepi32_ps(x); }
  // Rounded to nearest, ties to even.
  static Ints to_ints(Vec x) noexcept { return _mm256_cvtps_epi32(x); }
  // The lanes, which fit in 16 bits, as bytes, at least 0 and at most 255.
  static void store_bytes(std::uint8_t* p, Ints x) noexcept {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
  }
  // The same as signed bytes.
  static void store_signed_bytes(std::int8_t* p, Ints x) noexcept {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
  }
  static float min(Vec x) noexcept {
    __m128 s = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_min_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_min_ss(s, _mm_movehdup_ps(s)));
  }
  // To the nearest half, ties to even.
  static void store_half(void* p, Vec x) noexcept {
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  // 8 halves, IEEE binary16.
  static Vec load_half(const void* p) noexcept {
    return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  }
  // 8 signed bytes.
  static Vec load_signed_bytes(const void* p) noexcept {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p))));
  }
  // 8 bfloat16s.
  static Vec load_bfloat16(const void* p) noexcept {
    const __m128i bits = _mm_loadu_si128(static_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
};

}  // namespace
}  // namespace kvasir::kernels
