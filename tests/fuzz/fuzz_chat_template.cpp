// Any bytes as a chat template: refused with a kvasir::Error in one line, or rendered, to UTF-8 and within
// its limits.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  const text::ChatMessage messages[] = {
      {"system", " Be brief.\n"}, {"user", "Qu\u00E9?"}, {"assistant", "<&>"}};
  try {
    const auto chat = text::ChatTemplate::parse({reinterpret_cast<const char*>(data), size}, "template");
    const std::string prompt = chat.render(messages, {.bos_token = "<s>", .eos_token = "</s>"});
    if (base::find_invalid_utf8(prompt) != prompt.size()) __builtin_trap();
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
    if (error.code() == ErrorCode::kInternal) __builtin_trap();
  }
  return 0;
}
