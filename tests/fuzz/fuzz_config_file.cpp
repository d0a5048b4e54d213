// Any bytes as a configuration file: options with names that are names, or a kvasir::Error in one line.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kvasir/error.h"
#include "train/config_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    std::size_t values = 0;
    for (const auto& [name, of_name] : train::parse_config(text, "fuzz.yaml")) {
      if (name.empty() || name.find_first_of("_ \n") != std::string_view::npos) __builtin_trap();
      values += of_name.size();
    }
    // Nothing in a file multiplies.
    if (values > size) __builtin_trap();
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
  }
  return 0;
}
