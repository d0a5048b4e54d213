#include "tensor/quants.h"

#include <cassert>
#include <cstddef>
#include <cstring>

namespace kvasir::tensor {

namespace {

std::size_t low_or_high(std::uint8_t byte, bool high) noexcept {
  return high ? byte >> 4 : byte & 15;
}

// Element j of a simple quant, without scale.
int nibble(const std::uint8_t (&q)[16], std::size_t j) noexcept {
  return static_cast<int>(low_or_high(q[j % 16], j >= 16));
}
int five_bits(const std::uint8_t (&h)[4], const std::uint8_t (&q)[16], std::size_t j) noexcept {
  return nibble(q, j) | (h[j / 8] >> (j % 8) & 1) << 4;
}

// Values of one quant, each as ggml computes it: products first, then the difference.
void read(const QuantQ8_0& b, float* out) noexcept {
  const float d = half_to_float(b.d);
  for (std::size_t j = 0; j < kQuantElements; ++j) out[j] = d * static_cast<float>(b.q[j]);
}
void read(const QuantQ4_0& b, float* out) noexcept {
  const float d = half_to_float(b.d);
  for (std::size_t j = 0; j < kQuantElements; ++j) out[j] = d * static_cast<float>(nibble(b.q, j) - 8);
}
void read(const QuantQ4_1& b, float* out) noexcept {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (std::size_t j = 0; j < kQuantElements; ++j) out[j] = d * static_cast<float>(nibble(b.q, j)) + m;
}
void read(const QuantQ5_0& b, float* out) noexcept {
  const float d = half_to_float(b.d);
  for (std::size_t j = 0; j < kQuantElements; ++j)
    out[j] = d * static_cast<float>(five_bits(b.h, b.q, j) - 16);
}
void read(const QuantQ5_1& b, float* out) noexcept {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (std::size_t j = 0; j < kQuantElements; ++j)
    out[j] = d * static_cast<float>(five_bits(b.h, b.q, j)) + m;
}
void read(const QuantIQ4_NL& b, float* out) noexcept {
  const float d = half_to_float(b.d);
  for (std::size_t j = 0; j < kQuantElements; ++j) out[j] = d * kIq4Values[nibble(b.q, j)];
}

// The K types. Elements 128 at a time: quarter r of half N lies in bits 2r of bytes 32 N + l.
int two_bits(const std::uint8_t (&q)[64], std::size_t e) noexcept {
  return q[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3;
}
void read(const QuantQ2_K& b, float* out) noexcept {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (std::size_t e = 0; e < kSuperQuantElements; ++e) {
    const std::uint8_t scale = b.scales[e / 16];
    const float step = d * static_cast<float>(scale & 15), minimum = dmin * static_cast<float>(scale >> 4);
    out[e] = step * static_cast<float>(two_bits(b.q, e)) - minimum;
  }
}
int six_bit_scale(const std::uint8_t (&scales)[12], std::size_t s) noexcept {
  const int low = static_cast<int>(low_or_high(scales[s % 8], s >= 8));
  return low | (scales[8 + s % 4] >> (s / 4 * 2) & 3) << 4;
}
void read(const QuantQ3_K& b, float* out) noexcept {
  const float d = half_to_float(b.d);
  for (std::size_t e = 0; e < kSuperQuantElements; ++e) {
    const bool high = (b.hmask[e % 32] >> (e / 32) & 1) != 0;
    const float step = d * static_cast<float>(six_bit_scale(b.scales, e / 16) - 32);
    out[e] = step * static_cast<float>(two_bits(b.q, e) - (high ? 0 : 4));
  }
}
// Sub-quants of 32 come in pairs, in the two halves of the same 32 bytes.
int nibble(const std::uint8_t (&q)[128], std::size_t e) noexcept {
  return static_cast<int>(low_or_high(q[e / 64 * 32 + e % 32], e / 32 % 2 == 1));
}
void read(const QuantQ4_K& b, float* out) noexcept {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (std::size_t e = 0; e < kSuperQuantElements; ++e) {
    const auto [scale, minimum] = scale_and_minimum(b.scales, e / 32);
    out[e] = d * static_cast<float>(scale) * static_cast<float>(nibble(b.q, e)) -
             dmin * static_cast<float>(minimum);
  }
}
void read(const QuantQ5_K& b, float* out) noexcept {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (std::size_t e = 0; e < kSuperQuantElements; ++e) {
    const auto [scale, minimum] = scale_and_minimum(b.scales, e / 32);
    const int n = nibble(b.q, e) + (b.h[e % 32] >> (e / 32) & 1) * 16;
    out[e] = d * static_cast<float>(scale) * static_cast<float>(n) - dmin * static_cast<float>(minimum);
  }
}
void read(const QuantQ6_K& b, float* out) noexcept {
  const float d = half_to_float(b.d);
  for (std::size_t e = 0; e < kSuperQuantElements; ++e) {
    const std::size_t half = e / 128, quarter = e % 128 / 32, l = e % 32;
    const std::size_t low = low_or_high(b.ql[64 * half + 32 * (quarter & 1) + l], quarter >= 2);
    const int v = static_cast<int>(low) | (b.qh[32 * half + l] >> (2 * quarter) & 3) << 4;
    out[e] = d * static_cast<float>(b.scales[e / 16]) * static_cast<float>(v - 32);
  }
}

template <class Quant>
void read_all(const std::byte* quants, std::size_t quant_elements, std::span<float> out) noexcept {
  assert(out.size() % quant_elements == 0);
  for (std::size_t first = 0; first < out.size(); first += quant_elements, quants += sizeof(Quant)) {
    Quant quant;
    std::memcpy(&quant, quants, sizeof quant);
    read(quant, out.data() + first);
  }
}

}  // namespace

namespace {

// Where the binary16 scales of a quant begin, and how many there are, side by side.
struct Scales {
  std::size_t at, count;
};
Scales scales_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {.at = 0, .count = 2};
    case DType::kQ2_K:
      return {.at = offsetof(QuantQ2_K, d), .count = 2};
    case DType::kQ3_K:
      return {.at = offsetof(QuantQ3_K, d), .count = 1};
    case DType::kQ6_K:
      return {.at = offsetof(QuantQ6_K, d), .count = 1};
    default:
      return {.at = 0, .count = 1};
  }
}

}  // namespace

bool are_finite(DType dtype, const std::byte* quants, std::size_t elements) noexcept {
  constexpr std::uint16_t kExponent = 0x7C00;
  const Scales scales = scales_of(dtype);
  bool finite = true;
  const std::byte* const end = quants + dtype_bytes(dtype, elements);
  for (const std::byte* quant = quants; quant < end; quant += dtype_size(dtype)) {
    for (std::size_t i = 0; i < scales.count; ++i) {
      std::uint16_t scale = 0;
      std::memcpy(&scale, quant + scales.at + i * sizeof scale, sizeof scale);
      finite = finite && (scale & kExponent) != kExponent;
    }
  }
  return finite;
}

void dequantize(DType dtype, const std::byte* quants, std::span<float> out) noexcept {
  switch (dtype) {
    case DType::kQ4_0:
      return read_all<QuantQ4_0>(quants, kQuantElements, out);
    case DType::kQ4_1:
      return read_all<QuantQ4_1>(quants, kQuantElements, out);
    case DType::kQ5_0:
      return read_all<QuantQ5_0>(quants, kQuantElements, out);
    case DType::kQ5_1:
      return read_all<QuantQ5_1>(quants, kQuantElements, out);
    case DType::kQ8_0:
      return read_all<QuantQ8_0>(quants, kQuantElements, out);
    case DType::kQ2_K:
      return read_all<QuantQ2_K>(quants, kSuperQuantElements, out);
    case DType::kQ3_K:
      return read_all<QuantQ3_K>(quants, kSuperQuantElements, out);
    case DType::kQ4_K:
      return read_all<QuantQ4_K>(quants, kSuperQuantElements, out);
    case DType::kQ5_K:
      return read_all<QuantQ5_K>(quants, kSuperQuantElements, out);
    case DType::kQ6_K:
      return read_all<QuantQ6_K>(quants, kSuperQuantElements, out);
    case DType::kIQ4_NL:
      return read_all<QuantIQ4_NL>(quants, kQuantElements, out);
    default:
      assert(!"dequantize: not a type of quants");
  }
}

}  // namespace kvasir::tensor
