// Any bytes as a file of torch.save: refused with a kvasir::Error in one line, or tensors whose elements can
// all be read and that take no more memory than a few times the file.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "formats/torch_file.h"
#include "kvasir/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  try {
    const formats::TorchContent content =
        formats::parse_torch(std::as_bytes(std::span(data, size)), "pytorch_model.bin");
    unsigned sum = 0;
    for (const auto& [name, view] : content.tensors) {
      if (view.bytes() > size) __builtin_trap();
      for (std::size_t i = 0; i < view.bytes(); ++i) sum += static_cast<unsigned>(view.data[i]);
    }
    volatile unsigned keep = sum;
    (void)keep;
    std::size_t copies = 0;
    for (const auto& copy : content.copies) copies += copy.size();
    if (copies > 4 * size) __builtin_trap();
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
  }
  return 0;
}
