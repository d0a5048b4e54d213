#include <algorithm>
#include <cassert>

#include "kernels/tables.h"

namespace kvasir::kernels {

PackedMatrix pack_matrix(const float* w, std::size_t n, std::size_t k) {
  assert(w != nullptr && n > 0 && k > 0);
  PackedMatrix packed{.n = n, .k = k, .data = {}};
  packed.data = tensor::Buffer<float>(packed.panels() * k * kPanelColumns);
  // 16 x 16 squares: 16 source rows of one cache line each, so each line is read once while it is in L1.
  for (std::size_t p = 0; p < packed.panels(); ++p) {
    float* panel = packed.data.data() + p * k * kPanelColumns;
    const float* rows = w + p * kPanelColumns * k;
    const std::size_t columns = std::min(kPanelColumns, n - p * kPanelColumns);
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
  return packed;
}

}  // namespace kvasir::kernels
