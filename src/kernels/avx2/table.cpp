#include "kernels/vector/table.h"

#include "kernels/avx2/simd.h"

namespace kvasir::kernels {

const IsaKernels& avx2_kernels() noexcept {
  static constexpr IsaKernels kKernels = isa_kernels<Avx2>(base::Isa::kAvx2);
  return kKernels;
}

}  // namespace kvasir::kernels
