// Any bytes under any name as a document: refused with a one-line kvasir::Error, or well-formed text whose
// every byte has a place. PDF is left out: its parser is another process.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "kvasir/convert.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  if (size == 0) return 0;
  constexpr const char* kNames[] = {"a.txt", "a.md", "a.html", "a.eml", "a"};
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (bytes.starts_with("%PDF-")) return 0;
  try {
    const ConvertedText converted = convert(bytes, {.name = kNames[data[0] % 5],
                                                    .max_text_bytes = std::size_t{1} << 20,
                                                    .max_entry_bytes = std::size_t{1} << 20});
    if (base::find_invalid_utf8(converted.text) != converted.text.size()) __builtin_trap();
    for (std::size_t at = 0; at <= converted.text.size(); at += 97) {
      if (converted.locate(at).describe().empty()) __builtin_trap();
    }
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
  }
  return 0;
}
