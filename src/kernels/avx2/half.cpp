#include "kernels/vector/half.h"

#include "kernels/avx2/simd.h"
#include "kernels/tables.h"

namespace kvasir::kernels {

const HalfKernels& avx2_half_kernels() noexcept {
  static constexpr HalfKernels kKernels = {.gemm_block = half_gemm<Avx2>};
  return kKernels;
}

}  // namespace kvasir::kernels
