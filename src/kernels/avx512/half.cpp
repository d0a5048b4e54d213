#include "kernels/vector/half.h"

#include "kernels/avx512/simd.h"
#include "kernels/tables.h"

namespace kvasir::kernels {

const HalfKernels& avx512_half_kernels() noexcept {
  static constexpr HalfKernels kKernels = {.gemm_block = half_gemm<Avx512>};
  return kKernels;
}

}  // namespace kvasir::kernels
