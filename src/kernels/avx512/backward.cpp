#include "kernels/vector/backward.h"

#include "kernels/avx512/simd.h"
#include "kernels/tables.h"

namespace kvasir::kernels {

const BackwardKernels& avx512_backward_kernels() noexcept {
  static constexpr BackwardKernels kKernels = backward_table<Avx512>();
  return kKernels;
}

}  // namespace kvasir::kernels
