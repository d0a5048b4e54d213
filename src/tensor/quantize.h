// Rounding to the blocks of GGUF (tensor/blocks.h). What a block stands for afterwards is as near to the
// floats (least squares) as a search over scales finds; ggml's own rounding is further off, see the test.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace kvasir::tensor {

// Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q6_K.
bool can_quantize(DType dtype) noexcept;

// Writes dtype_bytes(dtype, values.size()) bytes, at any address. Preconditions: can_quantize(dtype),
// values.size() a multiple of dtype_block(dtype), values finite. Scales beyond those of binary16 become its
// largest.
void quantize(DType dtype, std::span<const float> values, std::byte* blocks) noexcept;

}  // namespace kvasir::tensor
