#include "kernels/vector/backward.h"

#include "kernels/avx2/simd.h"
#include "kernels/tables.h"

namespace kvasir::kernels {

const BackwardKernels& avx2_backward_kernels() noexcept {
  static constexpr BackwardKernels kKernels = backward_table<Avx2>();
  return kKernels;
}

}  // namespace kvasir::kernels
