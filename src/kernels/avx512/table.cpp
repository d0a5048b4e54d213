#include "kernels/vector/table.h"

#include "kernels/avx512/simd.h"

namespace kvasir::kernels {

const IsaKernels& avx512_kernels() noexcept {
  static constexpr IsaKernels kKernels = isa_kernels<Avx512>(base::Isa::kAvx512);
  return kKernels;
}

}  // namespace kvasir::kernels
