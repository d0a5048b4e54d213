// Element types of stored tensors, by their safetensors names, and the quants of GGUF by theirs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace kvasir::tensor {

// In the order of the safetensors library, whose writer sorts tensors by it (last first).
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
  kU64,
  // Quants of GGUF: groups of neighbouring elements of a row that share a scale. Their layout is in
  // tensor/quants.h.
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL
};

std::size_t dtype_quant_elements(
    DType dtype) noexcept;                     // elements per quant; 1 for types other than those of GGUF
std::size_t dtype_size(DType dtype) noexcept;  // bytes per quant, or per element for other types
// Precondition: elements is a multiple of dtype_quant_elements(dtype).
std::size_t dtype_bytes(DType dtype, std::size_t elements) noexcept;
const char* dtype_name(DType dtype) noexcept;  // "F32", "BF16", "Q4_K", …
// A type by its name in safetensors, which has no quants; nullopt for an unknown name.
std::optional<DType> parse_dtype(std::string_view name);

float half_to_float(std::uint16_t bits) noexcept;   // IEEE binary16, subnormals and NaN included
std::uint16_t float_to_half(float value) noexcept;  // round to nearest even
float bfloat16_to_float(std::uint16_t bits) noexcept;
std::uint16_t float_to_bfloat16(float value) noexcept;  // round to nearest even; NaN stays NaN

}  // namespace kvasir::tensor
