#include "tensor/dtype.h"

#include <array>
#include <bit>

#include "tensor/quants.h"

namespace kvasir::tensor {

// Files are little-endian, and tensors are read as they lie in them.
static_assert(std::endian::native == std::endian::little, "only little-endian machines are supported");

namespace {

struct Row {
  const char* name;
  std::size_t size;
  std::size_t quant = 1;
};
// By the value of DType.
constexpr std::array<Row, 26> kRows{{{"BOOL", 1},
                                     {"U8", 1},
                                     {"I8", 1},
                                     {"F8_E5M2", 1},
                                     {"F8_E4M3", 1},
                                     {"I16", 2},
                                     {"U16", 2},
                                     {"F16", 2},
                                     {"BF16", 2},
                                     {"I32", 4},
                                     {"U32", 4},
                                     {"F32", 4},
                                     {"F64", 8},
                                     {"I64", 8},
                                     {"U64", 8},
                                     {"Q4_0", sizeof(QuantQ4_0), 32},
                                     {"Q4_1", sizeof(QuantQ4_1), 32},
                                     {"Q5_0", sizeof(QuantQ5_0), 32},
                                     {"Q5_1", sizeof(QuantQ5_1), 32},
                                     {"Q8_0", sizeof(QuantQ8_0), 32},
                                     {"Q2_K", sizeof(QuantQ2_K), 256},
                                     {"Q3_K", sizeof(QuantQ3_K), 256},
                                     {"Q4_K", sizeof(QuantQ4_K), 256},
                                     {"Q5_K", sizeof(QuantQ5_K), 256},
                                     {"Q6_K", sizeof(QuantQ6_K), 256},
                                     {"IQ4_NL", sizeof(QuantIQ4_NL), 32}}};
static_assert(static_cast<std::size_t>(DType::kIQ4_NL) + 1 == kRows.size());
constexpr std::size_t kSafetensorsTypes = static_cast<std::size_t>(DType::kU64) + 1;

const Row& row(DType dtype) noexcept {
  return kRows[static_cast<std::size_t>(dtype)];
}

}  // namespace

std::size_t dtype_quant_elements(DType dtype) noexcept {
  return row(dtype).quant;
}

std::size_t dtype_size(DType dtype) noexcept {
  return row(dtype).size;
}

std::size_t dtype_bytes(DType dtype, std::size_t elements) noexcept {
  return elements / row(dtype).quant * row(dtype).size;
}

const char* dtype_name(DType dtype) noexcept {
  return row(dtype).name;
}

std::optional<DType> parse_dtype(std::string_view name) {
  for (std::size_t i = 0; i < kSafetensorsTypes; ++i) {
    if (name == kRows[i].name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

float half_to_float(std::uint16_t bits) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = bits >> 10 & 0x1Fu;
  const std::uint32_t mantissa = bits & 0x3FFu;
  if (exponent == 0) {  // zero or subnormal: mantissa · 2^-24, exact in binary32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
  }
  // Infinity and NaN keep the largest exponent; others move from bias 15 to bias 127.
  const std::uint32_t wide = exponent == 0x1F ? 0xFFu : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

std::uint16_t float_to_half(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) {  // NaN: quiet, the upper part of its payload kept
    return static_cast<std::uint16_t>(sign | 0x7E00u | (magnitude >> 13 & 0x3FFu));
  }
  if (magnitude >= 0x47800000u) return static_cast<std::uint16_t>(sign | 0x7C00u);  // 2^16 and more: infinity
  if (magnitude < 0x38800000u) {  // below 2^-14: subnormal, in units of 2^-24
    // Adding 0.5 (whose unit in the last place is 2^-24) makes the hardware round to nearest even for us.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3F000000u));
  }
  // Round at bit 13: half a unit less one, plus the last bit that stays. A carry runs into the exponent, and
  // from the largest number into infinity, as it should.
  const std::uint32_t rounded = magnitude + 0xFFFu + (magnitude >> 13 & 1u);
  return static_cast<std::uint16_t>(sign | (rounded - ((127u - 15u) << 23)) >> 13);
}

float bfloat16_to_float(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

std::uint16_t float_to_bfloat16(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace kvasir::tensor
