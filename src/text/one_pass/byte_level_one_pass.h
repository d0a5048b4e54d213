// ByteLevel and BPE in one pass over the bytes of a text, without a copy of it in which bytes are characters.
//
// The output is that of the parts one after the other (a test compares them). Serves every pre-tokeniser that
// has one ByteLevel, if what follows it can split bytes.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "text/models/bpe.h"
#include "text/pre_tokenizers/pre_tokenizer.h"
#include "text/token_sink.h"

namespace kvasir::text {

class ByteLevelOnePass {
 public:
  // nullopt if these parts cannot be done in one pass. They must outlive the result.
  static std::optional<ByteLevelOnePass> make(const PreTokenizer* pre_tokenizer, const Model& model);

  // Whether no space has to be put before text[piece).
  bool serves(std::string_view text, Piece piece) const noexcept {
    return !add_prefix_space_ || text[piece.begin] == ' ';
  }
  // Tokenises text[piece), which normalising leaves as it is and which holds no added token. Spans count from
  // the beginning of text.
  void tokenize(std::string_view text, Piece piece, TokenSink& sink) const;

 private:
  explicit ByteLevelOnePass(const Bpe& model) : model_(&model) {}

  const Bpe* model_;
  std::vector<const Splitter*> before_, after_;  // ByteLevel
  bool use_regex_ = false, add_prefix_space_ = false;
};

}  // namespace kvasir::text
