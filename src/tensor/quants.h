// The quants of GGUF files, as ggml lays them out (ggml-common.h, where they are called blocks). A quant is
// 32 or 256 neighbouring elements of a row, rounded to a few bits each, with the scale and often the minimum
// that they share. A row is a whole number of quants. Scales are IEEE binary16.
//
//   tensor::dequantize(tensor::DType::kQ4_K, view.data, floats);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace kvasir::tensor {

inline constexpr std::size_t kQuantElements = 32;        // elements of a simple quant
inline constexpr std::size_t kSuperQuantElements = 256;  // elements of a quant of the K types

// x = d · q
struct QuantQ8_0 {
  std::uint16_t d;
  std::int8_t q[32];
};
// x = d (n - 8). Element j < 16 is the low half of q[j], element j >= 16 the high half of q[j - 16].
struct QuantQ4_0 {
  std::uint16_t d;
  std::uint8_t q[16];
};
// x = d n + m
struct QuantQ4_1 {
  std::uint16_t d, m;
  std::uint8_t q[16];
};
// x = d (n - 16); bit j of h, which is little-endian, is the fifth bit of element j.
struct QuantQ5_0 {
  std::uint16_t d;
  std::uint8_t h[4], q[16];
};
// x = d n + m
struct QuantQ5_1 {
  std::uint16_t d, m;
  std::uint8_t h[4], q[16];
};
// x = d kIq4Values[n]
struct QuantIQ4_NL {
  std::uint16_t d;
  std::uint8_t q[16];
};
// x = d (scale & 15) v - dmin (scale >> 4), a scale for each 16.
struct QuantQ2_K {
  std::uint8_t scales[16], q[64];
  std::uint16_t d, dmin;
};
// x = d (scale - 32) (v - 4 · (no bit in hmask)), a scale of 6 bits for each 16.
struct QuantQ3_K {
  std::uint8_t hmask[32], q[64], scales[12];
  std::uint16_t d;
};
// x = d scale n - dmin minimum, a scale and a minimum of 6 bits each for each 32.
struct QuantQ4_K {
  std::uint16_t d, dmin;
  std::uint8_t scales[12], q[128];
};
struct QuantQ5_K {
  std::uint16_t d, dmin;
  std::uint8_t scales[12], h[32], q[128];
};
// x = d scale (v - 32), a scale of 8 bits for each 16.
struct QuantQ6_K {
  std::uint8_t ql[128], qh[64];
  std::int8_t scales[16];
  std::uint16_t d;
};
static_assert(sizeof(QuantQ8_0) == 34 && sizeof(QuantQ4_0) == 18 && sizeof(QuantQ4_1) == 20);
static_assert(sizeof(QuantQ5_0) == 22 && sizeof(QuantQ5_1) == 24 && sizeof(QuantIQ4_NL) == 18);
static_assert(sizeof(QuantQ2_K) == 84 && sizeof(QuantQ3_K) == 110 && sizeof(QuantQ4_K) == 144);
static_assert(sizeof(QuantQ5_K) == 176 && sizeof(QuantQ6_K) == 210);

inline constexpr std::int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};

// Scale and minimum t < 8 of the 12 bytes of a Q4_K or Q5_K quant.
struct ScaleAndMinimum {
  std::uint8_t scale, minimum;
};
constexpr ScaleAndMinimum scale_and_minimum(const std::uint8_t (&scales)[12], std::size_t t) noexcept {
  if (t < 4)
    return {static_cast<std::uint8_t>(scales[t] & 63), static_cast<std::uint8_t>(scales[t + 4] & 63)};
  return {static_cast<std::uint8_t>((scales[t + 4] & 15) | scales[t - 4] >> 6 << 4),
          static_cast<std::uint8_t>(scales[t + 4] >> 4 | scales[t] >> 6 << 4)};
}

// Converts quants to floats, with the bits that ggml's dequantize_row_* computes. Preconditions: dtype is a
// type of quants, out.size() is a multiple of dtype_quant_elements(dtype); quants may lie at any address.
void dequantize(DType dtype, const std::byte* quants, std::span<float> out) noexcept;

// Whether the scales of all quants are finite, and with them all elements.
bool are_finite(DType dtype, const std::byte* quants, std::size_t elements) noexcept;

}  // namespace kvasir::tensor
