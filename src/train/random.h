// Random numbers that are a function of what they are for, the same on every machine.
#pragma once

#include <cstdint>

namespace kvasir::train {

// What SplitMix64 (Steele et al. 2014) adds to its state for each number.
inline constexpr std::uint64_t kSplitMixStep = 0x9E3779B97F4A7C15U;
// Its number for a state.
constexpr std::uint64_t split_mix(std::uint64_t state) noexcept {
  std::uint64_t x = state + kSplitMixStep;
  x = (x ^ x >> 30U) * 0xBF58476D1CE4E5B9U;
  x = (x ^ x >> 27U) * 0x94D049BB133111EBU;
  return x ^ x >> 31U;
}

}  // namespace kvasir::train
