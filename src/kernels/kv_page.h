// Storage of the keys and values of a sequence: pages of 16 tokens, so that sequences can grow, fork and
// share a common beginning without anything being moved (Kwon et al. 2023, "PagedAttention").
//
// A page holds all layers and heads of its tokens, one part [keys][values] after the other. Keys have the
// layout that the first product of attention reads, a panel [head_dim][16 tokens]; values that of the second,
// panels [16 tokens][16] of 16 columns each, the last one padded with zeros. If they are bytes, each of the
// two is followed by its scales.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace kvasir::kernels {

inline constexpr std::size_t kPageTokens = 16;  // the columns of one panel

// The type in which keys and values are stored. kQ8_0: signed bytes q that stand for q · scale, one scale for
// each 32 elements of a token's key or value: 8.5 bits per element, like the type of that name in GGUF and in
// llama.cpp's cache. Scales are bfloat16, which has the range of fp32. (One scale for all 64 elements of a
// head, in fp32, takes as much memory and has larger errors: SmolLM2-135M, in fp32 otherwise, over 1,000
// tokens of English: Kullback-Leibler divergence 6.6e-4 instead of 3.9e-4.)
enum class KvType { kF32, kF16, kQ8_0 };

inline constexpr std::size_t kKvBlock = 32;  // elements that share a scale

// The part of a page that belongs to one head of one layer.
struct KvLayout {
  std::size_t head_dim = 0;
  KvType type = KvType::kF32;

  std::size_t element_size() const noexcept {
    return type == KvType::kF32 ? 4 : type == KvType::kF16 ? 2 : 1;
  }
  std::size_t scale_bytes() const noexcept {  // [blocks][16 tokens], of the keys or of the values
    if (type != KvType::kQ8_0) return 0;
    return (head_dim + kKvBlock - 1) / kKvBlock * kPageTokens * sizeof(std::uint16_t);
  }
  // Offsets of the scales and values within the part, which begins with the keys. All are multiples of 32.
  std::size_t key_scales() const noexcept { return (head_dim * kPageTokens * element_size() + 31) / 32 * 32; }
  std::size_t values() const noexcept { return key_scales() + scale_bytes(); }
  std::size_t value_scales() const noexcept {
    return values() + (head_dim + 15) / 16 * 16 * kPageTokens * element_size();
  }
  std::size_t bytes() const noexcept { return value_scales() + scale_bytes(); }
};

// The scale of kKvBlock elements with this largest magnitude: largest / 127, rounded up to bfloat16, so that
// no quotient exceeds 127. NaN if it is not finite. (Always inlined: see vector/README.md.)
inline __attribute__((always_inline)) std::uint16_t kv_scale(float largest) noexcept {
  if (!(largest <= 3.4028234e38F)) return 0x7FC0;
  return static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(largest / 127) + 0xFFFFU) >> 16);
}

// One head's keys and values of a sequence.
struct KvPages {
  const std::byte* const* pages = nullptr;  // token t lies in pages[t / 16]
  std::size_t offset = 0;                   // of the head's part in each page, in bytes
  KvType type = KvType::kF32;
};

struct KvStoreCall {
  const float* k = nullptr;  // [head_dim]
  const float* v = nullptr;
  std::byte* part = nullptr;  // of the page and the head
  std::size_t slot = 0;       // of the token within the page
  KvLayout layout{};
};

}  // namespace kvasir::kernels
