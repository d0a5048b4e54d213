// libFuzzer entry: any bytes must either parse into tensors that lie within them, or throw kvasir::Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "formats/safetensors.h"
#include "kvasir/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    const auto content = kvasir::formats::parse_safetensors(bytes, "fuzz");
    std::size_t total = 0;
    for (const auto& [name, view] : content.tensors) {
      if (view.data < bytes.data() || view.data + view.bytes() > bytes.data() + bytes.size()) std::abort();
      total += view.bytes();
    }
    if (total + 8 > size) std::abort();
  } catch (const kvasir::Error&) {
  }
  return 0;
}
