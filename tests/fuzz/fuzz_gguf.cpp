// Any bytes as a GGUF file: refused with a kvasir::Error in one line, or tensors that lie within them and
// whose elements can all be read.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "formats/gguf.h"
#include "kvasir/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  const auto inside = [&](const void* begin, std::size_t length) {
    const auto* first = static_cast<const std::byte*>(begin);
    return length == 0 || (first >= bytes.data() && length <= size && first + length <= bytes.data() + size);
  };
  try {
    const formats::GgufContent content = formats::parse_gguf(bytes, "model.gguf");
    std::size_t total = 0;
    std::vector<float> row;
    for (const auto& [name, view] : content.tensors) {
      if (!inside(view.data, view.bytes())) __builtin_trap();
      total += view.bytes();
      const bool floats = tensor::dtype_quant_elements(view.dtype) > 1 || view.dtype == tensor::DType::kF32;
      if (!floats) continue;
      row.resize(view.elements());
      view.read_floats(0, row);
    }
    if (total > size) __builtin_trap();
    for (const auto& [key, value] : content.metadata.values()) {
      const auto* array = std::get_if<formats::GgufArray>(&value.value);
      if (array == nullptr) continue;
      if (!inside(array->data.data(), array->data.size())) __builtin_trap();
      for (const std::string_view text : array->strings) {
        if (!inside(text.data(), text.size())) __builtin_trap();
      }
    }
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
  }
  return 0;
}
