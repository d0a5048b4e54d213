// Tensors whose elements do not lie one after the other, and the copies that make them do so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tensor/view.h"

namespace kvasir::tensor {

// Element (i, j, …) lies i · strides[0] + j · strides[1] + … elements from data.
struct StridedView {
  DType dtype = DType::kF32;
  Shape shape;
  std::vector<std::int64_t> strides;  // as many as sizes, each >= 0
  const std::byte* data = nullptr;

  std::size_t elements() const noexcept { return TensorView{dtype, shape, data}.elements(); }
  // Whether the elements lie in the order of TensorView.
  bool is_contiguous() const noexcept;
};

// Writes the elements one after the other. Precondition: room for elements() of them.
void copy_elements(const StridedView& from, std::byte* to);
// Reverses the bytes of each element: big-endian to little-endian or back.
void swap_bytes(DType dtype, std::byte* data, std::size_t elements) noexcept;

}  // namespace kvasir::tensor
