#include <algorithm>
#include <cassert>

#include "kernels/kernels.h"
#include "kernels/tables.h"

namespace kvasir::kernels {

PackedMatrix allocate_packed(std::size_t n, std::size_t k) {
  assert(n > 0 && k > 0);
  PackedMatrix packed{.n = n, .k = k, .data = {}};
  packed.data = tensor::Buffer<float>(packed.panels() * k * kPanelColumns);
  return packed;
}

void pack_rows(const float* w, RowRange range, PackedMatrix& packed) noexcept {
  assert(w != nullptr && range.begin % kPanelColumns == 0);
  assert(range.end == packed.n || (range.end < packed.n && range.end % kPanelColumns == 0));
  const std::size_t k = packed.k;
  // 16 x 16 squares: 16 source rows of one cache line each, so each line is read once while it is in L1.
  for (std::size_t row = range.begin; row < range.end; row += kPanelColumns) {
    float* panel = packed.data.data() + row * k;
    const float* rows = w + (row - range.begin) * k;
    const std::size_t columns = std::min(kPanelColumns, range.end - row);
    for (std::size_t k0 = 0; k0 < k; k0 += 16) {
      const std::size_t k1 = std::min(k, k0 + 16);
      for (std::size_t j = 0; j < columns; ++j) {
        for (std::size_t kk = k0; kk < k1; ++kk) panel[kk * kPanelColumns + j] = rows[j * k + kk];
      }
      for (std::size_t j = columns; j < kPanelColumns; ++j) {
        for (std::size_t kk = k0; kk < k1; ++kk) panel[kk * kPanelColumns + j] = 0;
      }
    }
  }
}

PackedMatrix pack_matrix(const float* w, std::size_t n, std::size_t k) {
  PackedMatrix packed = allocate_packed(n, k);
  pack_rows(w, {.begin = 0, .end = n}, packed);
  return packed;
}

}  // namespace kvasir::kernels
