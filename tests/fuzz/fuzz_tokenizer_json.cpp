// Any bytes as a tokenizer.json: refused with a kvasir::Error in one line, or loaded and then fit to tokenise
// with.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kvasir/error.h"
#include "text/loading/tokenizer_json.h"
#include "text/pipeline.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  try {
    const auto parts =
        text::parse_tokenizer_json({reinterpret_cast<const char*>(data), size}, "tokenizer.json");
    constexpr std::string_view kText =
        "The caf\u00E9, e\u0301 \u4E2D\u6587 [SEP] unaffordable `` 12-34 \u0130\u1E9B\u0323";
    text::TokenizedText tokens;
    text::TokenSink sink(tokens, kText);
    text::tokenize_by_slices(parts, text::find_traits(parts), kText, {0, kText.size()}, sink);
    for (const text::ByteSpan& span : tokens.offsets) {
      if (span.begin > span.end || span.end > kText.size()) __builtin_trap();
    }
    parts.post_processor.encode({&tokens, {0, tokens.size()}}, true);
    std::vector<std::string> words;
    for (const std::int32_t id : tokens.ids) words.emplace_back(parts.model->vocabulary().token(id));
    parts.decoder->decode(std::move(words));
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
  }
  return 0;
}
