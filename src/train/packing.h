// Operands of the products of a backward pass in the layouts of those of a forward pass.
#pragma once

#include <cstddef>

#include "base/thread_pool.h"
#include "kernels/backward.h"
#include "kernels/fp32.h"
#include "tensor/buffer.h"

namespace kvasir::train {

// Floats between rows of `columns`: whole cache lines, and never a multiple of 4 KiB (see Gemm::kAliasBytes).
std::size_t padded_stride(std::size_t columns) noexcept;

// Grow-only memory.
float* at_least(tensor::Buffer<float>& buffer, std::size_t size);

// Rows of a matrix that lie ldx floats apart.
struct MatrixRows {
  const float* x = nullptr;
  std::size_t ldx = 0;
  std::size_t rows = 0, columns = 0;
};

// Each fills `packed`, whose memory grows as needed and is kept.
// Of x [rows, columns], so that a product with it is a · xᵀ: the weight x.
void pack_rows(const kernels::BackwardKernels& kernels, const MatrixRows& x, kernels::PackedMatrix& packed);
// So that a product with it is a · x: the weight xᵀ. On the pool, or on this thread.
void pack_columns(base::ThreadPool& pool, const MatrixRows& x, kernels::PackedMatrix& packed);
void pack_columns(const MatrixRows& x, kernels::PackedMatrix& packed);
// The transpose of a packed weight, packed.
void transpose_packed(const kernels::BackwardKernels& kernels, base::ThreadPool& pool,
                      const kernels::PackedMatrix& weight, kernels::PackedMatrix& packed);

}  // namespace kvasir::train
