// Panels from rows of 16-bit numbers: 8 x 8 transposes, in vectors that every 64-bit processor has.
#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>

#include "kernels/half.h"

namespace kvasir::kernels {

namespace {

using Eight [[gnu::vector_size(16)]] = std::uint16_t;
constexpr std::size_t kSide = 8;
using Square = std::array<Eight, kSide>;

// Interleaving the first half of the rows with the second, three times, transposes.
Square interleave(const Square& in) noexcept {
  Square out;
  for (std::size_t i = 0; i < kSide / 2; ++i) {
    const Eight a = in[i], b = in[i + kSide / 2];
    out[2 * i] = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    out[2 * i + 1] = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  }
  return out;
}

// The square of 8 rows, row_bytes apart, goes to 8 rows of a panel.
void transpose(const std::byte* rows, std::size_t row_bytes, std::uint16_t* out) noexcept {
  Square square;
  for (std::size_t i = 0; i < kSide; ++i) std::memcpy(&square[i], rows + i * row_bytes, sizeof square[i]);
  square = interleave(interleave(interleave(square)));
  for (std::size_t i = 0; i < kSide; ++i) std::memcpy(out + i * kPanelColumns, &square[i], sizeof square[i]);
}

// One panel of `columns` rows.
void pack_panel(const std::byte* rows, std::size_t columns, std::size_t k, std::uint16_t* out) noexcept {
  const std::size_t row_bytes = k * sizeof *out;
  const std::size_t whole = columns / kSide * kSide, squares = k / kSide * kSide;
  for (std::size_t i = 0; i < squares; i += kSide) {
    for (std::size_t j = 0; j < whole; j += kSide)
      transpose(rows + j * row_bytes + i * sizeof *out, row_bytes, out + i * kPanelColumns + j);
  }
  for (std::size_t j = 0; j < kPanelColumns; ++j) {
    for (std::size_t i = j < whole ? squares : 0; i < k; ++i) {
      std::uint16_t& to = out[i * kPanelColumns + j];
      to = 0;
      if (j < columns) std::memcpy(&to, rows + j * row_bytes + i * sizeof to, sizeof to);
    }
  }
}

}  // namespace

HalfMatrix allocate_half(tensor::DType dtype, std::size_t n, std::size_t k) {
  assert((dtype == tensor::DType::kF16 || dtype == tensor::DType::kBF16) && n > 0 && k > 0);
  HalfMatrix packed{.n = n, .k = k, .dtype = dtype, .data = {}};
  packed.data = tensor::Buffer<std::uint16_t>(packed.panels() * k * kPanelColumns);
  return packed;
}

void pack_half_rows(const std::byte* rows, RowRange range, HalfMatrix& packed) noexcept {
  assert(range.begin % kPanelColumns == 0);
  assert(range.end == packed.n || (range.end < packed.n && range.end % kPanelColumns == 0));
  for (std::size_t row = range.begin; row < range.end; row += kPanelColumns) {
    pack_panel(rows + (row - range.begin) * packed.k * sizeof(std::uint16_t),
               std::min(kPanelColumns, range.end - row), packed.k, packed.data.data() + row * packed.k);
  }
}

bool half_all_finite(tensor::DType dtype, const std::byte* numbers, std::size_t count) noexcept {
  const std::uint16_t exponent = dtype == tensor::DType::kF16 ? 0x7C00 : 0x7F80;
  using Flags [[gnu::vector_size(16)]] = std::int16_t;
  Flags found = {};
  std::size_t i = 0;
  for (; i + kSide <= count; i += kSide) {
    Eight x;
    std::memcpy(&x, numbers + i * sizeof(std::uint16_t), sizeof x);
    found |= (x & exponent) == exponent;
  }
  for (; i < count; ++i) {
    std::uint16_t x = 0;
    std::memcpy(&x, numbers + i * sizeof x, sizeof x);
    if ((x & exponent) == exponent) return false;
  }
  return std::bit_cast<std::array<std::int16_t, kSide>>(found) == std::array<std::int16_t, kSide>{};
}

}  // namespace kvasir::kernels
