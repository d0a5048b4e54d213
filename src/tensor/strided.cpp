#include "tensor/strided.h"

#include <algorithm>
#include <cstring>

namespace kvasir::tensor {

bool StridedView::is_contiguous() const noexcept {
  if (elements() == 0) return true;
  std::int64_t expected = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 1) continue;  // its stride is never taken
    if (strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

void copy_elements(const StridedView& from, std::byte* to) {
  const std::size_t item = dtype_size(from.dtype);
  const std::size_t count = from.elements();
  const std::size_t rank = from.shape.size();
  std::vector<std::int64_t> index(rank, 0);
  std::int64_t at = 0;
  for (std::size_t i = 0; i < count; ++i, to += item) {
    std::memcpy(to, from.data + static_cast<std::size_t>(at) * item, item);
    for (std::size_t d = rank; d-- > 0;) {  // an odometer: the last index runs fastest
      at += from.strides[d];
      if (++index[d] < from.shape[d]) break;
      at -= from.strides[d] * from.shape[d];
      index[d] = 0;
    }
  }
}

void swap_bytes(DType dtype, std::byte* data, std::size_t elements) noexcept {
  const std::size_t item = dtype_size(dtype);
  for (std::size_t i = 0; i < elements; ++i) std::reverse(data + i * item, data + (i + 1) * item);
}

}  // namespace kvasir::tensor
