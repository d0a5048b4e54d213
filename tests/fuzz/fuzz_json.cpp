// Any bytes as a JSON file: parsed, or refused with a kvasir::Error in one line.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/json.h"
#include "kvasir/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  try {
    const auto value = base::parse_json({reinterpret_cast<const char*>(data), size}, "fuzz.json");
    const base::JsonObject object(value, "fuzz.json");
    object.integer_or("a", 0, -10, 10);
    object.string_or("b", "");
    object.number_or("c", 0);
    object.boolean_or("d", false);
    if (object.has("e")) object.object("e");
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
  }
  return 0;
}
