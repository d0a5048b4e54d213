#include "kernels/vector/table.h"

#include "kernels/avx2/simd.h"

namespace kvasir::kernels {

const IsaFp32Kernels& avx2_fp32_kernels() noexcept {
  static constexpr IsaFp32Kernels kKernels = isa_kernels<Avx2>();
  return kKernels;
}

}  // namespace kvasir::kernels
