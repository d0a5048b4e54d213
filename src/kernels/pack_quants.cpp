// Packs quants of the file into panels: words of 16 rows side by side.
#include <algorithm>
#include <cassert>
#include <cstring>

#include "kernels/quants.h"

namespace kvasir::kernels {

namespace {

constexpr std::size_t kWord = 4;

// Swaps the bits of `mask` with those `shift` higher.
constexpr std::uint32_t swap_bits(std::uint32_t x, std::uint32_t mask, unsigned shift) noexcept {
  const std::uint32_t differ = (x ^ x >> shift) & mask;
  return x ^ differ ^ differ << shift;
}
// Bit 4 G + i goes to bit 8 i + G: this rotates the five binary digits of a bit's number by two places, in
// two rounds of four swaps.
constexpr std::uint32_t spread_fifth_bits(std::uint32_t x) noexcept {
  for (int turn = 0; turn < 2; ++turn) {  // each puts the even bits first, then the odd ones
    x = swap_bits(x, 0x22222222U, 1);
    x = swap_bits(x, 0x0C0C0C0CU, 2);
    x = swap_bits(x, 0x00F000F0U, 4);
    x = swap_bits(x, 0x0000FF00U, 8);
  }
  return x;
}

// Converts a word of the file to its packed form.
template <tensor::DType kType>
constexpr std::uint32_t repack(std::size_t word, std::uint32_t bits) noexcept {
  using tensor::DType;
  if (kType == DType::kQ8_0) return bits ^ 0x80808080U;
  if ((kType == DType::kQ5_0 && word == 0) || (kType == DType::kQ5_1 && word == 1))
    return spread_fifth_bits(bits);
  return bits;
}

// Packs one panel. The compiler knows everything except the address of the rows, so the loops over words are
// unrolled.
template <tensor::DType kType>
void pack_panel(const std::byte* rows, std::size_t columns, std::size_t panel, QuantMatrix& packed) noexcept {
  constexpr QuantLayout kLayout = quant_layout(kType);
  const std::size_t quant_bytes = tensor::dtype_size(kType);
  const std::size_t quants = packed.k / kLayout.elements, row_bytes = quants * quant_bytes;
  std::uint8_t* out = packed.data.data() + panel * packed.panel_bytes();
  std::uint16_t* halves = packed.halves.data() + panel * packed.panel_halves();
  if (columns < kPanelColumns) {
    std::fill_n(out, packed.panel_bytes(), std::uint8_t{0});
    std::fill_n(halves, packed.panel_halves(), std::uint16_t{0});
  }
  for (std::size_t b = 0; b < quants; ++b) {
    for (std::size_t j = 0; j < columns; ++j) {
      const std::byte* quant = rows + j * row_bytes + b * quant_bytes;
      if constexpr (kLayout.has_half) std::memcpy(halves + j, quant + kLayout.half_at, sizeof *halves);
      for (std::size_t w = 0; w < kLayout.words; ++w) {
        std::uint32_t word;
        std::memcpy(&word, quant + kLayout.words_at + w * kWord, kWord);
        word = repack<kType>(w, word);
        std::memcpy(out + (w * kPanelColumns + j) * kWord, &word, kWord);
      }
    }
    out += kLayout.words * kWord * kPanelColumns;
    if constexpr (kLayout.has_half) halves += kPanelColumns;
  }
}

using PackPanel = void (*)(const std::byte* rows, std::size_t columns, std::size_t panel,
                           QuantMatrix& packed) noexcept;
PackPanel panel_packer(tensor::DType dtype) noexcept {
  using tensor::DType;
  switch (dtype) {
    case DType::kQ4_0:
      return pack_panel<DType::kQ4_0>;
    case DType::kQ4_1:
      return pack_panel<DType::kQ4_1>;
    case DType::kQ5_0:
      return pack_panel<DType::kQ5_0>;
    case DType::kQ5_1:
      return pack_panel<DType::kQ5_1>;
    case DType::kQ8_0:
      return pack_panel<DType::kQ8_0>;
    case DType::kIQ4_NL:
      return pack_panel<DType::kIQ4_NL>;
    case DType::kQ2_K:
      return pack_panel<DType::kQ2_K>;
    case DType::kQ3_K:
      return pack_panel<DType::kQ3_K>;
    case DType::kQ4_K:
      return pack_panel<DType::kQ4_K>;
    case DType::kQ5_K:
      return pack_panel<DType::kQ5_K>;
    case DType::kQ6_K:
      return pack_panel<DType::kQ6_K>;
    default:
      assert(!"pack_quant_rows: not a type of quant products");
      return nullptr;
  }
}

}  // namespace

QuantMatrix allocate_quants(tensor::DType dtype, std::size_t n, std::size_t k) {
  assert(is_quant_product(dtype) && n > 0 && k > 0 && k % quant_layout(dtype).elements == 0);
  QuantMatrix packed{.n = n, .k = k, .dtype = dtype, .data = {}, .halves = {}};
  packed.data = tensor::Buffer<std::uint8_t>(packed.panels() * packed.panel_bytes());
  packed.halves = tensor::Buffer<std::uint16_t>(packed.panels() * packed.panel_halves());
  return packed;
}

void pack_quant_rows(const std::byte* rows, RowRange range, QuantMatrix& packed) noexcept {
  assert(range.begin % kPanelColumns == 0);
  assert(range.end == packed.n || (range.end < packed.n && range.end % kPanelColumns == 0));
  const PackPanel pack = panel_packer(packed.dtype);
  const std::size_t row_bytes = tensor::dtype_bytes(packed.dtype, packed.k);
  for (std::size_t row = range.begin; row < range.end; row += kPanelColumns) {
    pack(rows + (row - range.begin) * row_bytes, std::min(kPanelColumns, range.end - row),
         row / kPanelColumns, packed);
  }
}

QuantRows quant_rows(std::byte* memory, std::size_t rows, std::size_t k) noexcept {
  const std::size_t stride = int8_stride(k);
  return {.data = reinterpret_cast<std::int8_t*>(memory),
          .quants = reinterpret_cast<RowQuant*>(memory + rows * stride),
          .stride = stride,
          .quant_stride = k / tensor::kQuantElements};
}

}  // namespace kvasir::kernels
