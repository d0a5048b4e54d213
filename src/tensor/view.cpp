#include "tensor/view.h"

#include <cassert>
#include <cstring>

#include "tensor/quants.h"

namespace kvasir::tensor {

namespace {

// Elements of T at any address, each converted to float.
template <class T, class Convert>
void convert(const std::byte* data, std::span<float> out, Convert to_float) noexcept {
  for (std::size_t i = 0; i < out.size(); ++i) {
    T element;
    std::memcpy(&element, data + i * sizeof(T), sizeof(T));
    out[i] = to_float(element);
  }
}

}  // namespace

std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

std::size_t TensorView::elements() const noexcept {
  std::size_t product = 1;
  for (const std::int64_t size : shape) product *= static_cast<std::size_t>(size);
  return product;
}

void TensorView::read_floats(std::size_t first, std::span<float> out) const noexcept {
  assert(first + out.size() <= elements());
  const std::byte* from = data + dtype_bytes(dtype, first);
  if (dtype_quant_elements(dtype) > 1) return dequantize(dtype, from, out);
  switch (dtype) {
    case DType::kF32:
      if (!out.empty()) std::memcpy(out.data(), from, out.size_bytes());
      return;
    case DType::kF64:
      return convert<double>(from, out, [](double x) { return static_cast<float>(x); });
    case DType::kF16:
      return convert<std::uint16_t>(from, out, half_to_float);
    case DType::kBF16:
      return convert<std::uint16_t>(from, out, bfloat16_to_float);
    case DType::kI8:
      return convert<std::int8_t>(from, out, [](std::int8_t x) { return static_cast<float>(x); });
    default:
      assert(!"read_floats: not a floating-point tensor");
  }
}

}  // namespace kvasir::tensor
