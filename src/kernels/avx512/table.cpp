#include "kernels/vector/table.h"

#include "kernels/avx512/simd.h"

namespace kvasir::kernels {

const IsaFp32Kernels& avx512_fp32_kernels() noexcept {
  static constexpr IsaFp32Kernels kKernels = isa_kernels<Avx512>();
  return kKernels;
}

}  // namespace kvasir::kernels
