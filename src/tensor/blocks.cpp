#include "tensor/blocks.h"

#include <cassert>
#include <cstddef>
#include <cstring>

namespace kvasir::tensor {

namespace {

std::size_t low_or_high(std::uint8_t byte, bool high) noexcept {
  return high ? byte >> 4 : byte & 15;
}

// Element j of a simple block, without scale.
int nibble(const std::uint8_t (&q)[16], std::size_t j) noexcept {
  return static_cast<int>(low_or_high(q[j % 16], j >= 16));
}
int five_bits(const std::uint8_t (&h)[4], const std::uint8_t (&q)[16], std::size_t j) noexcept {
  return nibble(q, j) | (h[j / 8] >> (j % 8) & 1) << 4;
}

// Values of one block, each as ggml computes it: products first, then the difference.
void read(const BlockQ8_0& b, float* out) noexcept {
  const float d = half_to_float(b.d);
  for (std::size_t j = 0; j < kBlock; ++j) out[j] = d * static_cast<float>(b.q[j]);
}
void read(const BlockQ4_0& b, float* out) noexcept {
  const float d = half_to_float(b.d);
  for (std::size_t j = 0; j < kBlock; ++j) out[j] = d * static_cast<float>(nibble(b.q, j) - 8);
}
void read(const BlockQ4_1& b, float* out) noexcept {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (std::size_t j = 0; j < kBlock; ++j) out[j] = d * static_cast<float>(nibble(b.q, j)) + m;
}
void read(const BlockQ5_0& b, float* out) noexcept {
  const float d = half_to_float(b.d);
  for (std::size_t j = 0; j < kBlock; ++j) out[j] = d * static_cast<float>(five_bits(b.h, b.q, j) - 16);
}
void read(const BlockQ5_1& b, float* out) noexcept {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (std::size_t j = 0; j < kBlock; ++j) out[j] = d * static_cast<float>(five_bits(b.h, b.q, j)) + m;
}
void read(const BlockIQ4_NL& b, float* out) noexcept {
  const float d = half_to_float(b.d);
  for (std::size_t j = 0; j < kBlock; ++j) out[j] = d * kIq4Values[nibble(b.q, j)];
}

// The K types. Elements 128 at a time: quarter r of half N lies in bits 2r of bytes 32 N + l.
int two_bits(const std::uint8_t (&q)[64], std::size_t e) noexcept {
  return q[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3;
}
void read(const BlockQ2_K& b, float* out) noexcept {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (std::size_t e = 0; e < kSuperBlock; ++e) {
    const std::uint8_t scale = b.scales[e / 16];
    const float step = d * static_cast<float>(scale & 15), minimum = dmin * static_cast<float>(scale >> 4);
    out[e] = step * static_cast<float>(two_bits(b.q, e)) - minimum;
  }
}
int six_bit_scale(const std::uint8_t (&scales)[12], std::size_t s) noexcept {
  const int low = static_cast<int>(low_or_high(scales[s % 8], s >= 8));
  return low | (scales[8 + s % 4] >> (s / 4 * 2) & 3) << 4;
}
void read(const BlockQ3_K& b, float* out) noexcept {
  const float d = half_to_float(b.d);
  for (std::size_t e = 0; e < kSuperBlock; ++e) {
    const bool high = (b.hmask[e % 32] >> (e / 32) & 1) != 0;
    const float step = d * static_cast<float>(six_bit_scale(b.scales, e / 16) - 32);
    out[e] = step * static_cast<float>(two_bits(b.q, e) - (high ? 0 : 4));
  }
}
// Sub-blocks of 32 come in pairs, in the two halves of the same 32 bytes.
int nibble(const std::uint8_t (&q)[128], std::size_t e) noexcept {
  return static_cast<int>(low_or_high(q[e / 64 * 32 + e % 32], e / 32 % 2 == 1));
}
void read(const BlockQ4_K& b, float* out) noexcept {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (std::size_t e = 0; e < kSuperBlock; ++e) {
    const auto [scale, minimum] = scale_and_minimum(b.scales, e / 32);
    out[e] = d * static_cast<float>(scale) * static_cast<float>(nibble(b.q, e)) -
             dmin * static_cast<float>(minimum);
  }
}
void read(const BlockQ5_K& b, float* out) noexcept {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (std::size_t e = 0; e < kSuperBlock; ++e) {
    const auto [scale, minimum] = scale_and_minimum(b.scales, e / 32);
    const int n = nibble(b.q, e) + (b.h[e % 32] >> (e / 32) & 1) * 16;
    out[e] = d * static_cast<float>(scale) * static_cast<float>(n) - dmin * static_cast<float>(minimum);
  }
}
void read(const BlockQ6_K& b, float* out) noexcept {
  const float d = half_to_float(b.d);
  for (std::size_t e = 0; e < kSuperBlock; ++e) {
    const std::size_t half = e / 128, quarter = e % 128 / 32, l = e % 32;
    const std::size_t low = low_or_high(b.ql[64 * half + 32 * (quarter & 1) + l], quarter >= 2);
    const int v = static_cast<int>(low) | (b.qh[32 * half + l] >> (2 * quarter) & 3) << 4;
    out[e] = d * static_cast<float>(b.scales[e / 16]) * static_cast<float>(v - 32);
  }
}

template <class Block>
void read_all(const std::byte* blocks, std::size_t block_elements, std::span<float> out) noexcept {
  assert(out.size() % block_elements == 0);
  for (std::size_t first = 0; first < out.size(); first += block_elements, blocks += sizeof(Block)) {
    Block block;
    std::memcpy(&block, blocks, sizeof block);
    read(block, out.data() + first);
  }
}

}  // namespace

namespace {

// Where the binary16 scales of a block begin, and how many there are, side by side.
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
      return {.at = offsetof(BlockQ2_K, d), .count = 2};
    case DType::kQ3_K:
      return {.at = offsetof(BlockQ3_K, d), .count = 1};
    case DType::kQ6_K:
      return {.at = offsetof(BlockQ6_K, d), .count = 1};
    default:
      return {.at = 0, .count = 1};
  }
}

}  // namespace

bool are_finite(DType dtype, const std::byte* blocks, std::size_t elements) noexcept {
  constexpr std::uint16_t kExponent = 0x7C00;
  const Scales scales = scales_of(dtype);
  bool finite = true;
  const std::byte* const end = blocks + dtype_bytes(dtype, elements);
  for (const std::byte* block = blocks; block < end; block += dtype_size(dtype)) {
    for (std::size_t i = 0; i < scales.count; ++i) {
      std::uint16_t scale = 0;
      std::memcpy(&scale, block + scales.at + i * sizeof scale, sizeof scale);
      finite = finite && (scale & kExponent) != kExponent;
    }
  }
  return finite;
}

void dequantize(DType dtype, const std::byte* blocks, std::span<float> out) noexcept {
  switch (dtype) {
    case DType::kQ4_0:
      return read_all<BlockQ4_0>(blocks, kBlock, out);
    case DType::kQ4_1:
      return read_all<BlockQ4_1>(blocks, kBlock, out);
    case DType::kQ5_0:
      return read_all<BlockQ5_0>(blocks, kBlock, out);
    case DType::kQ5_1:
      return read_all<BlockQ5_1>(blocks, kBlock, out);
    case DType::kQ8_0:
      return read_all<BlockQ8_0>(blocks, kBlock, out);
    case DType::kQ2_K:
      return read_all<BlockQ2_K>(blocks, kSuperBlock, out);
    case DType::kQ3_K:
      return read_all<BlockQ3_K>(blocks, kSuperBlock, out);
    case DType::kQ4_K:
      return read_all<BlockQ4_K>(blocks, kSuperBlock, out);
    case DType::kQ5_K:
      return read_all<BlockQ5_K>(blocks, kSuperBlock, out);
    case DType::kQ6_K:
      return read_all<BlockQ6_K>(blocks, kSuperBlock, out);
    case DType::kIQ4_NL:
      return read_all<BlockIQ4_NL>(blocks, kBlock, out);
    default:
      assert(!"dequantize: not a type of blocks");
  }
}

}  // namespace kvasir::tensor
