// Element types of stored tensors, by their safetensors names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace kvasir::tensor {

// In the reference's order, which is also the order in which its writer lays tensors out (last first).
enum class DType {
  kBool,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kF64,
  kI64,
  kU64
};

std::size_t dtype_size(DType dtype) noexcept;             // bytes per element
const char* dtype_name(DType dtype) noexcept;             // "F32", "BF16", …
std::optional<DType> parse_dtype(std::string_view name);  // nullopt: a name that we do not know

float half_to_float(std::uint16_t bits) noexcept;   // IEEE binary16, subnormals and NaN included
std::uint16_t float_to_half(float value) noexcept;  // round to nearest even
float bfloat16_to_float(std::uint16_t bits) noexcept;
std::uint16_t float_to_bfloat16(float value) noexcept;  // round to nearest even; NaN stays NaN

}  // namespace kvasir::tensor
