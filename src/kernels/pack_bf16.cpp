#include <algorithm>
#include <cassert>

#include "kernels/bf16.h"
#include "tensor/dtype.h"

namespace kvasir::kernels {

Bf16Matrix allocate_bf16(std::size_t n, std::size_t k) {
  assert(n > 0 && k > 0);
  Bf16Matrix packed{.n = n, .k = k, .data = {}};
  packed.data = tensor::Buffer<std::uint16_t>(packed.panels() * packed.panel_size());
  return packed;
}

void pack_bf16_rows(const float* w, RowRange range, Bf16Matrix& packed) noexcept {
  assert(range.begin % kPanelColumns == 0);
  for (std::size_t row = range.begin; row < range.end; row += kPanelColumns) {
    const std::size_t columns = std::min(kPanelColumns, range.end - row);
    std::uint16_t* out = packed.data.data() + row / kPanelColumns * packed.panel_size();
    std::fill_n(out, packed.panel_size(), std::uint16_t{0});
    for (std::size_t j = 0; j < columns; ++j) {
      const float* from = w + (row - range.begin + j) * packed.k;
      std::uint16_t* column = out + j * kBf16Group;
      for (std::size_t i = 0; i < packed.k; ++i) {
        column[i / kBf16Group * kBf16Group * kPanelColumns + i % kBf16Group] =
            tensor::float_to_bfloat16(from[i]);
      }
    }
  }
}

}  // namespace kvasir::kernels
