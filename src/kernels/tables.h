// The tables of the instruction sets, for kernels.cpp. Call only on a machine that has the instruction set.
#pragma once

#include <cstddef>

#include "kernels/backward.h"
#include "kernels/bf16.h"
#include "kernels/fp32.h"
#include "kernels/half.h"
#include "kernels/int8.h"
#include "kernels/quants.h"

namespace kvasir::kernels {

struct IsaFp32Kernels {
  Fp32Kernels table;
  // The register-only loop behind measure_fma_ceiling, `rounds` times; returns the multiply-adds done.
  double (*multiply_adds)(std::size_t rounds) noexcept;
};

struct IsaInt8Kernels {
  Int8Kernels table;
  double (*multiply_adds)(std::size_t rounds) noexcept;  // behind measure_int8_ceiling
};

struct IsaBf16Kernels {
  Bf16Kernels table;
  double (*multiply_adds)(std::size_t rounds) noexcept;  // behind measure_bf16_ceiling
};

const IsaFp32Kernels& scalar_fp32_kernels() noexcept;
const BackwardKernels& scalar_backward_kernels() noexcept;
const IsaBf16Kernels& scalar_bf16_kernels() noexcept;
const IsaInt8Kernels& scalar_int8_kernels() noexcept;
const QuantKernels& scalar_quant_kernels() noexcept;
const HalfKernels& scalar_half_kernels() noexcept;
#if defined(__x86_64__)
const IsaFp32Kernels& avx2_fp32_kernels() noexcept;
const IsaFp32Kernels& avx512_fp32_kernels() noexcept;
const BackwardKernels& avx2_backward_kernels() noexcept;
const BackwardKernels& avx512_backward_kernels() noexcept;
const IsaInt8Kernels& avx2_int8_kernels() noexcept;
const IsaInt8Kernels& avx512vnni_int8_kernels() noexcept;
const QuantKernels& avx2_quant_kernels() noexcept;
const HalfKernels& avx2_half_kernels() noexcept;
const HalfKernels& avx512_half_kernels() noexcept;
const QuantKernels& avx512vnni_quant_kernels() noexcept;
const IsaBf16Kernels& avx512bf16_kernels() noexcept;
#endif

}  // namespace kvasir::kernels
