// All kernels of one instruction set, chosen once and called through plain function pointers.
//
//   const kernels::Kernels& k = kernels::kernels_for(base::best_isa());
//   kernels::PackedMatrix w = kernels::pack(k.fp32, weights, n, k_dim);   // once, at load
//   kernels::gemm(k.fp32, pool, {.a = x, .lda = 384, .b = &w, .bias = bias, .c = y, .ldc = 1536, .m = rows});
#pragma once

#include "base/cpu.h"
#include "kernels/backward.h"
#include "kernels/bf16.h"
#include "kernels/fp32.h"
#include "kernels/half.h"
#include "kernels/int8.h"
#include "kernels/quants.h"

namespace kvasir::kernels {

struct Kernels {
  base::Isa isa;
  const Fp32Kernels& fp32;
  const BackwardKernels& backward;  // for training
  const Int8Kernels& int8;
  const HalfKernels& half;
  const QuantKernels& quants;
  const Bf16Kernels* bf16;  // null if the processor has none
  // Whether those products are faster here than fp32, measured once. Zen 4 does them at twice the speed,
  // Intel's server processors without AMX at half of it.
  bool bf16_is_faster;
};

// The same object for every call. Throws kUnsupported if the processor lacks `isa`.
const Kernels& kernels_for(base::Isa isa);

}  // namespace kvasir::kernels
