// Any text, tokenised in BERT's one pass and by the parts one after the other: the same tokens, with spans in
// order and within the text. The first byte chooses the normaliser's options; what is not UTF-8 is cut away.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "text/one_pass/bert_one_pass.h"
#include "text/pipeline.h"

namespace {

using namespace kvasir;

// BERT's parts over a vocabulary of all ASCII letters and a few longer tokens.
text::TokenizerParts make_parts() {
  text::VocabularyList list;
  std::int32_t id = 0;
  list.add("[UNK]", id++);
  for (char c = '!'; c <= '~'; ++c) {
    list.add(std::string(1, c), id++);
    if (c % 3 != 0) list.add(std::string("##") + c, id++);
  }
  for (const char* token :
       {"the", "##the", "aaaaaaaa", "##aaaaaaaaa", "\u00E9", "##\u0301", "\u4E2D", "\u1100", "i\u0307"}) {
    list.add(token, id++);
  }
  text::TokenizerParts parts;
  parts.pre_tokenizer = text::make_pre_tokenizer({{"type", "BertPreTokenizer"}}, "fuzz");
  parts.model = std::make_unique<text::WordPiece>(
      text::Vocabulary(std::move(list), text::Vocabulary::Repeated::kError, "fuzz"), text::WordPieceOptions{},
      "fuzz");
  return parts;
}

void check(bool ok) {
  if (!ok) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static text::TokenizerParts parts = make_parts();
  if (size == 0) return 0;
  text::BertNormalizerOptions options;
  options.clean_text = (data[0] & 1) == 0;
  options.handle_chinese_chars = (data[0] & 2) == 0;
  options.lowercase = (data[0] & 4) == 0;
  if ((data[0] & 8) != 0) options.strip_accents = (data[0] & 16) != 0;
  std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  text = text.substr(0, base::find_invalid_utf8(text));

  parts.normalizer = std::make_unique<text::BertNormalizer>(options);
  text::TokenizedText expected, got;
  text::TokenSink expected_sink(expected, text), sink(got, text);
  text::tokenize_by_parts(parts, text, {0, text.size()}, expected_sink);
  const auto& model = dynamic_cast<const text::WordPiece&>(*parts.model);
  text::BertOnePass(options, model).tokenize(text, {0, text.size()}, sink);
  check(got.ids == expected.ids && got.offsets == expected.offsets && got.word_ids == expected.word_ids);
  std::uint32_t last = 0;
  for (const text::ByteSpan& span : got.offsets) {
    check(span.begin >= last && span.begin < span.end && span.end <= text.size());
    last = span.begin;
  }
  return 0;
}
