// Any bytes as vocab.json and merges.txt, a zero between them: refused with a kvasir::Error in one line, or
// loaded and then fit to tokenise with.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "text/loading/tokenizer_json_parser.h"
#include "text/loading/vocabulary_files.h"
#include "text/models/bpe.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t middle = std::min(input.find('\0'), size);
  std::string_view merges = input.substr(std::min(middle + 1, size));
  merges = merges.substr(0, base::find_invalid_utf8(merges));
  try {
    const text::Bpe model(
        text::Vocabulary(text::parse_vocabulary_document(input.substr(0, middle), "vocab.json"),
                         text::Vocabulary::Repeated::kError, "vocab.json"),
        text::parse_merges(merges, "merges.txt"), {}, "merges.txt");
    std::vector<text::WordToken> tokens;
    model.tokenize("the caf\u00E9 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
                   tokens);
    if (model.is_byte_level()) model.tokenize_bytes("the caf\u00E9", tokens);
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
  }
  return 0;
}
