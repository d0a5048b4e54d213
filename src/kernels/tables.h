// What the folders of the instruction sets offer to kernels.cpp. Call only on a machine that has the set.
#pragma once

#include <cstddef>

#include "kernels/kernels.h"

namespace kvasir::kernels {

struct IsaKernels {
  Kernels table;
  // The register-only loop behind measure_fma_ceiling, `rounds` times; returns the multiply-adds done.
  double (*multiply_adds)(std::size_t rounds) noexcept;
};

const IsaKernels& scalar_kernels() noexcept;
#if defined(__x86_64__)
const IsaKernels& avx2_kernels() noexcept;
const IsaKernels& avx512_kernels() noexcept;
#endif

}  // namespace kvasir::kernels
