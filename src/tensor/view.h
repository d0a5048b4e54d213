// A view of a tensor that is owned elsewhere: its address, element type and shape. Row-major, contiguous.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace kvasir::tensor {

using Shape = std::vector<std::int64_t>;

std::string shape_text(const Shape& shape);  // "[768, 3072]"

struct TensorView {
  DType dtype = DType::kF32;
  Shape shape;
  const std::byte* data = nullptr;  // may be unaligned: safetensors do not guarantee alignment

  std::size_t elements() const noexcept;
  std::size_t bytes() const noexcept { return dtype_bytes(dtype, elements()); }
  // Converts elements [first, first + out.size()) to float. Preconditions: dtype is F32, F16, BF16, F64, I8
  // or one of quants; first and out.size() are multiples of dtype_quant_elements(dtype).
  void read_floats(std::size_t first, std::span<float> out) const noexcept;
};

}  // namespace kvasir::tensor
