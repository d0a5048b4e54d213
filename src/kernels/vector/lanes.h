// Loops over arrays by vectors, the last one partial.
#pragma once

#include <cstddef>

namespace kvasir::kernels {

// All lanes, in place of a mask. A type of its own, because masked stores are far slower on AMD's AVX2
// machines (GELU took three times as long on Zen 4).
template <class S>
struct AllLanes {};

// Calls f(i, lanes) for the vectors that start at i = 0, kLanes, …: with AllLanes, and at the end with the
// mask of what is left of count.
template <class S, class F>
inline __attribute__((always_inline)) void for_vectors(std::size_t count, const F& f) noexcept {
  std::size_t i = 0;
  for (; i + S::kLanes <= count; i += S::kLanes) f(i, AllLanes<S>{});
  if (i < count) f(i, S::first(count - i));
}

template <class S>
inline typename S::Vec load(const float* p, AllLanes<S>) noexcept {
  return S::load(p);
}
template <class S>
inline typename S::Vec load(const float* p, typename S::Mask lanes) noexcept {
  return S::load(p, lanes);
}
template <class S>
inline void store(float* p, typename S::Vec x, AllLanes<S>) noexcept {
  S::store(p, x);
}
template <class S>
inline void store(float* p, typename S::Vec x, typename S::Mask lanes) noexcept {
  S::store(p, x, lanes);
}
// x in these lanes, `other` elsewhere.
template <class S>
inline typename S::Vec select(AllLanes<S>, typename S::Vec x, typename S::Vec) noexcept {
  return x;
}
template <class S>
inline typename S::Vec select(typename S::Mask lanes, typename S::Vec x, typename S::Vec other) noexcept {
  return S::select(lanes, x, other);
}

}  // namespace kvasir::kernels
