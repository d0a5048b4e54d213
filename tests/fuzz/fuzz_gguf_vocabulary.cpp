// Any lines as tokens with scores and types, and as merges, of each kind of GGUF vocabulary: refused with a
// kvasir::Error in one line, or fit to tokenise and decode with.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kvasir/error.h"
#include "text/loading/gguf_vocabulary.h"
#include "text/tokenizer.h"

namespace {

std::vector<std::string_view> take_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    lines.push_back(line);
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return lines;
}

}  // namespace

// Bytes: the kind, then lines of tokens, whose last byte gives type and score; after an empty line the
// merges.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  if (size == 0) return 0;
  constexpr std::string_view kModels[] = {"llama", "gpt2", "bert"};
  constexpr std::string_view kPre[] = {"default", "mpt", "falcon", "bloom", "smollm", "llama-bpe", "qwen2"};
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t middle = std::min(input.find("\n\n"), input.size());
  std::vector<std::string_view> tokens = take_lines(input.substr(0, middle));
  const std::vector<std::string_view> merges = take_lines(input.substr(std::min(middle + 2, input.size())));
  std::vector<float> scores;
  std::vector<std::int32_t> types;
  for (std::string_view& token : tokens) {
    const int last = token.empty() ? 1 : static_cast<unsigned char>(token.back());
    if (!token.empty()) token.remove_suffix(1);
    scores.push_back(-static_cast<float>(last / 8));
    types.push_back(last % 8);
  }
  text::GgufVocabulary vocabulary;
  vocabulary.model = kModels[data[0] % 3];
  vocabulary.pre = kPre[data[0] / 3 % 7];
  vocabulary.tokens = tokens;
  vocabulary.scores = scores;
  vocabulary.types = types;
  vocabulary.merges = merges;
  vocabulary.bos = 0;
  vocabulary.unk = vocabulary.eos = 1;
  vocabulary.add_space_prefix = data[0] < 128;
  try {
    const auto tokenizer = text::Tokenizer::from_gguf(vocabulary, "m.gguf");
    const auto encoding = tokenizer.encode("the caf\u00E9 a<s>b  \u4E2D 1234", {});
    tokenizer.decode(encoding.ids, {});
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
  }
  return 0;
}
