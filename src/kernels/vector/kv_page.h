// Stores keys and values in pages, and loads numbers from them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernels/fp32.h"
#include "kernels/vector/lanes.h"

namespace kvasir::kernels {

// Converts stored numbers of one type to floats, kLanes at a time, without their scales.
template <class S, KvType kType>
struct KvNumbers {
  static constexpr bool kScaled = kType == KvType::kQ8_0;
  static constexpr std::size_t kSize = kType == KvType::kF32 ? 4 : kType == KvType::kF16 ? 2 : 1;

  static typename S::Vec load(const std::byte* p) noexcept {
    if constexpr (kType == KvType::kF32) return S::load(reinterpret_cast<const float*>(p));
    if constexpr (kType == KvType::kF16) return S::load_half(p);
    if constexpr (kType == KvType::kQ8_0) return S::load_signed_bytes(p);
  }
};

template <class S>
inline void put(float* to, typename S::Vec x) noexcept {
  S::store(to, x);
}
template <class S>
inline void put(std::uint16_t* to, typename S::Vec x) noexcept {
  S::store_half(to, x);
}
template <class S>
inline void put(std::int8_t* to, typename S::Vec x) noexcept {
  S::store_signed_bytes(to, S::to_ints(x));
}

// The vectors of up to 32 elements that share a scale, divided by it if they are to become bytes.
template <class S, class Element>
struct KvStoredBlock {
  static constexpr std::size_t kVectors = kKvBlock / S::kLanes;
  typename S::Vec vectors[kVectors];

  KvStoredBlock(const float* x, std::size_t count, std::uint16_t* scale) noexcept {
    for (std::size_t i = 0; i < kVectors; ++i) {
      const std::size_t left = count > i * S::kLanes ? count - i * S::kLanes : 0;
      vectors[i] = left >= S::kLanes ? S::load(x + i * S::kLanes)
                   : left > 0        ? S::load(x + i * S::kLanes, S::first(left))
                                     : S::zero();
    }
    if constexpr (sizeof(Element) == 1) divide(scale);
  }

  void divide(std::uint16_t* scale) noexcept {
    typename S::Vec largest = S::zero(), finite = S::zero();  // or NaN
    for (const typename S::Vec& x : vectors) {
      largest = S::max(S::abs(x), largest);
      finite = S::fma(x, S::zero(), finite);
    }
    *scale = kv_scale(S::max(largest) + S::sum(finite));
    alignas(64) std::uint16_t copies[S::kLanes];
    for (std::uint16_t& copy : copies) copy = *scale;
    const typename S::Vec divisor = S::load_bfloat16(copies);
    for (typename S::Vec& x : vectors) x = S::zero_below(S::div(x, divisor), divisor, S::set(1e-45F));
  }
};

template <class S, class Element>
inline void store_kv_as(const KvStoreCall& call) noexcept {
  const KvLayout& layout = call.layout;
  auto* keys = reinterpret_cast<Element*>(call.part) + call.slot;
  auto* values = reinterpret_cast<Element*>(call.part + layout.values()) + call.slot * kPanelColumns;
  auto* key_scales = reinterpret_cast<std::uint16_t*>(call.part + layout.key_scales()) + call.slot;
  auto* value_scales = reinterpret_cast<std::uint16_t*>(call.part + layout.value_scales()) + call.slot;
  for (std::size_t begin = 0; begin < layout.head_dim; begin += kKvBlock) {
    const std::size_t left = layout.head_dim - begin, count = left < kKvBlock ? left : kKvBlock;
    const std::size_t scale = begin / kKvBlock * kPageTokens;
    const KvStoredBlock<S, Element> k(call.k + begin, count, key_scales + scale);
    alignas(64) Element column[kKvBlock];
    for (std::size_t i = 0; i < k.kVectors; ++i) put<S>(column + i * S::kLanes, k.vectors[i]);
    for (std::size_t i = 0; i < count; ++i) keys[(begin + i) * kPageTokens] = column[i];
    // A row of a panel is written whole: lanes beyond the head are 0.
    const KvStoredBlock<S, Element> v(call.v + begin, count, value_scales + scale);
    for (std::size_t i = 0; i < (count + kPanelColumns - 1) / kPanelColumns * kPanelColumns; i += S::kLanes) {
      put<S>(values + (begin + i) / kPanelColumns * kPageTokens * kPanelColumns + i % kPanelColumns,
             v.vectors[i / S::kLanes]);
    }
  }
}

template <class S>
void store_kv(const KvStoreCall& call) noexcept {
  switch (call.layout.type) {
    case KvType::kF32:
      return store_kv_as<S, float>(call);
    case KvType::kF16:
      return store_kv_as<S, std::uint16_t>(call);
    case KvType::kQ8_0:
      return store_kv_as<S, std::int8_t>(call);
  }
}

}  // namespace kvasir::kernels
