#include <cassert>

#include "kernels/fp32.h"

namespace kvasir::kernels {

PackedMatrix allocate_packed(std::size_t n, std::size_t k) {
  assert(n > 0 && k > 0);
  PackedMatrix packed{.n = n, .k = k, .data = {}};
  packed.data = tensor::Buffer<float>(packed.panels() * k * kPanelColumns);
  return packed;
}

PackedMatrix pack(const Fp32Kernels& kernels, const float* w, std::size_t n, std::size_t k) {
  PackedMatrix packed = allocate_packed(n, k);
  kernels.pack_rows(w, {.begin = 0, .end = n}, packed);
  return packed;
}

}  // namespace kvasir::kernels
