// Rounds floats to the quants of GGUF (tensor/quants.h), with scales that a search chooses for the least
// squared error. ggml's own rounding has larger errors, see the test.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace kvasir::tensor {

// Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q6_K.
bool can_round_to_quants(DType dtype) noexcept;

// Writes dtype_bytes(dtype, values.size()) bytes, at any address. Preconditions: can_round_to_quants(dtype),
// values.size() a multiple of dtype_quant_elements(dtype), values finite. Scales beyond those of binary16
// become its largest.
void round_to_quants(DType dtype, std::span<const float> values, std::byte* quants) noexcept;

}  // namespace kvasir::tensor
