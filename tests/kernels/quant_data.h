// Random tensors in the quants of GGUF, as a file would have them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/quants.h"

namespace kvasir::tests {

// Where a quant has its binary16 numbers.
inline std::vector<std::size_t> halves_of(tensor::DType dtype) {
  using tensor::DType;
  switch (dtype) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    default:
      return {0};
  }
}

// [n, k] of random bytes with scales of either sign around 0.01.
inline std::vector<std::byte> random_quants(tensor::DType dtype, std::size_t n, std::size_t k,
                                            std::uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.01F);
  std::vector<std::byte> bytes(tensor::dtype_bytes(dtype, n * k));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 255U);
  for (std::size_t quant = 0; quant < bytes.size(); quant += tensor::dtype_size(dtype)) {
    for (const std::size_t at : halves_of(dtype)) {
      const std::uint16_t half = tensor::float_to_half(normal(random));
      std::memcpy(bytes.data() + quant + at, &half, sizeof half);
    }
  }
  return bytes;
}

}  // namespace kvasir::tests
