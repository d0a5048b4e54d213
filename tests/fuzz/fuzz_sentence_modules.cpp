// Any bytes as the settings of a sentence model: refused with a kvasir::Error in one line, or settings that
// make sense. The input is four files, one after the other, with a NUL between them: modules.json,
// 1_Pooling/config.json, 2_Dense/config.json, config_sentence_transformers.json.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "kvasir/error.h"
#include "models/sentence_modules.h"
#include "temporary_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  static const tests::TemporaryFolder folder;
  static const bool made = std::filesystem::create_directory(folder / "1_Pooling") &&
                           std::filesystem::create_directory(folder / "2_Dense");
  (void)made;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  for (const char* name : {"modules.json", "1_Pooling/config.json", "2_Dense/config.json",
                           "config_sentence_transformers.json"}) {
    const std::size_t end = std::min(rest.find('\0'), rest.size());
    std::ofstream(folder / name, std::ios::binary) << rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  try {
    const models::SentenceModules modules = models::read_sentence_modules(folder.path());
    if (modules.head.pooling.empty()) __builtin_trap();
    if (modules.default_prompt_name && !modules.prompts.contains(*modules.default_prompt_name))
      __builtin_trap();
    if (!modules.transformer.string().starts_with(folder.path().string())) __builtin_trap();
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
  }
  return 0;
}
