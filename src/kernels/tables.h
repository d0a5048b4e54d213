// What the folders of the instruction sets offer to kernels.cpp. Call only on a machine that has the set.
#pragma once

#include <cstddef>

#include "kernels/kernels.h"

namespace kvasir::kernels {

// The layout is the same for all, and packing is bound by memory, so there is one.
PackedMatrix pack_matrix(const float* w, std::size_t n, std::size_t k);

// What one instruction set is made of: its table, and the register-only loop behind measure_fma_ceiling.
struct IsaKernels {
  Kernels table;
  // Runs `rounds` rounds; returns the multiply-adds done.
  double (*multiply_adds)(std::size_t rounds) noexcept;
};

const IsaKernels& scalar_kernels() noexcept;
#if defined(__x86_64__)
const IsaKernels& avx2_kernels() noexcept;
const IsaKernels& avx512_kernels() noexcept;
#endif

}  // namespace kvasir::kernels
