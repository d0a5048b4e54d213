#include <algorithm>
#include <cassert>

#include "kernels/scalar/scalar.h"

namespace kvasir::kernels::scalar {

void pack_rows(const float* w, RowRange range, PackedMatrix& packed) noexcept {
  assert(w != nullptr && range.begin % kPanelColumns == 0);
  assert(range.end == packed.n || (range.end < packed.n && range.end % kPanelColumns == 0));
  constexpr std::size_t kStep = 16;  // one cache line of each of 16 rows at a time
  const std::size_t k = packed.k;
  for (std::size_t row = range.begin; row < range.end; row += kPanelColumns) {
    float* panel = packed.data.data() + row * k;
    const float* rows = w + (row - range.begin) * k;
    const std::size_t columns = std::min(kPanelColumns, range.end - row);
    for (std::size_t k0 = 0; k0 < k; k0 += kStep) {
      for (std::size_t j = 0; j < kPanelColumns; ++j) {
        for (std::size_t kk = k0; kk < std::min(k, k0 + kStep); ++kk) {
          panel[kk * kPanelColumns + j] = j < columns ? rows[j * k + kk] : 0;
        }
      }
    }
  }
}

}  // namespace kvasir::kernels::scalar
