// Any bytes as the model file of SentencePiece: refused with a kvasir::Error in one line, or loaded by a
// class of tokenizer and then fit to tokenise with. The first byte chooses the class.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kvasir/error.h"
#include "text/loading/vocabulary_files.h"
#include "text/pipeline.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  if (size == 0) return 0;
  constexpr const char* kClasses[] = {"AlbertTokenizer", "XLMRobertaTokenizer", "DebertaV2Tokenizer",
                                      "LlamaTokenizer"};
  text::TokenizerConfig config;
  config.tokenizer_class = kClasses[data[0] & 3];
  config.legacy = (data[0] & 4) == 0;
  config.split_by_punct = (data[0] & 8) != 0;
  try {
    const auto parts = text::parse_sentencepiece_parts({reinterpret_cast<const char*>(data + 1), size - 1},
                                                       config, "spiece.model");
    constexpr std::string_view kText =
        "The caf\u00E9, e\u0301 \u4E2D\u6587 <s> unaffordable `` 12-34, \u0130";
    text::TokenizedText tokens;
    text::TokenSink sink(tokens, kText);
    text::tokenize_by_slices(parts, text::find_traits(parts), kText, {0, kText.size()}, sink);
    for (const text::ByteSpan& span : tokens.offsets) {
      if (span.begin > span.end || span.end > kText.size()) __builtin_trap();
    }
    std::vector<std::string> words;
    for (const std::int32_t id : tokens.ids) words.emplace_back(parts.model->vocabulary().token(id));
    parts.decoder->decode(std::move(words));
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
  }
  return 0;
}
