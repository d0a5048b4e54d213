// Where the keys and values of a sequence lie: in pages of 16 tokens, so that sequences grow, fork and share
// what they begin with in common without moving anything (Kwon et al. 2023, "PagedAttention").
//
// A page holds all layers and heads of its tokens, one part [keys][values] after the other. Keys lie as the
// first product of attention takes them, a panel [head_dim][16 tokens]; values as the second does, panels
// [16 tokens][16] of 16 columns each, the last one padded with zeros.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvasir::kernels {

inline constexpr std::size_t kPageTokens = 16;  // the columns of one panel

// What keys and values are kept as.
enum class KvType { kF32, kF16 };

// The part of a page that one head of one layer has.
struct KvLayout {
  std::size_t head_dim = 0;
  KvType type = KvType::kF32;

  std::size_t element_size() const noexcept { return type == KvType::kF32 ? 4 : 2; }
  std::size_t key_bytes() const noexcept { return head_dim * kPageTokens * element_size(); }
  std::size_t value_bytes() const noexcept {
    return (head_dim + 15) / 16 * 16 * kPageTokens * element_size();
  }
  std::size_t bytes() const noexcept { return key_bytes() + value_bytes(); }  // a multiple of 32
};

// One head's keys and values of a sequence.
struct KvPages {
  const std::byte* const* pages = nullptr;  // token t lies in pages[t / 16]
  std::size_t offset = 0;                   // of the head's part in each page, bytes
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
