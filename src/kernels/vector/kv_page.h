// Keys and values into pages and out of them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "kernels/vector/lanes.h"

namespace kvasir::kernels {

// `count` stored numbers, a multiple of 16, as floats.
template <class S>
inline void read_kv(const std::byte* from, KvType type, std::size_t count, float* to) noexcept {
  if (type == KvType::kF32) {
    for (std::size_t i = 0; i < count; i += S::kLanes) {
      S::store(to + i, S::load(reinterpret_cast<const float*>(from) + i));
    }
  } else {
    for (std::size_t i = 0; i < count; i += S::kLanes) {
      S::store(to + i, S::load_half(from + i * sizeof(std::uint16_t)));
    }
  }
}

template <class S>
inline void put(float* to, typename S::Vec x) noexcept {
  S::store(to, x);
}
template <class S>
inline void put(std::uint16_t* to, typename S::Vec x) noexcept {
  S::store_half(to, x);
}

template <class S, class Element>
inline void store_kv_as(const KvStoreCall& call) noexcept {
  auto* keys = reinterpret_cast<Element*>(call.part);
  auto* values = reinterpret_cast<Element*>(call.part + call.layout.key_bytes());
  const std::size_t head_dim = call.layout.head_dim;
  for_vectors<S>(head_dim, [&](std::size_t d, auto lanes) {
    // A row of a panel is written whole: lanes beyond the head are 0.
    put<S>(values + d / kPanelColumns * kPageTokens * kPanelColumns + call.slot * kPanelColumns +
               d % kPanelColumns,
           load<S>(call.v + d, lanes));
    alignas(64) Element column[S::kLanes];
    put<S>(column, load<S>(call.k + d, lanes));
    const std::size_t count = head_dim - d < S::kLanes ? head_dim - d : S::kLanes;
    for (std::size_t i = 0; i < count; ++i) keys[(d + i) * kPageTokens + call.slot] = column[i];
  });
  // With 8 lanes the second half of the last row may be left.
  for (std::size_t d = (head_dim + S::kLanes - 1) / S::kLanes * S::kLanes; d % kPanelColumns != 0;
       d += S::kLanes) {
    put<S>(values + d / kPanelColumns * kPageTokens * kPanelColumns + call.slot * kPanelColumns +
               d % kPanelColumns,
           S::zero());
  }
}

template <class S>
void store_kv(const KvStoreCall& call) noexcept {
  if (call.layout.type == KvType::kF32) {
    store_kv_as<S, float>(call);
  } else {
    store_kv_as<S, std::uint16_t>(call);
  }
}

}  // namespace kvasir::kernels
