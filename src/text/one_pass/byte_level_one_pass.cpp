#include "text/one_pass/byte_level_one_pass.h"

#include <utility>

#include "text/pattern.h"

namespace kvasir::text {

namespace {

bool continues_code_point(std::string_view text, std::size_t at) noexcept {
  return at < text.size() && (static_cast<std::uint8_t>(text[at]) & 0xC0) == 0x80;
}

}  // namespace

std::optional<ByteLevelOnePass> ByteLevelOnePass::make(const PreTokenizer* pre_tokenizer,
                                                       const Model& model) {
  const auto* bpe = dynamic_cast<const Bpe*>(&model);
  if (bpe == nullptr || !bpe->is_byte_level()) return std::nullopt;
  std::vector<const PreTokenizer*> parts;
  if (const auto* sequence = dynamic_cast<const SequencePreTokenizer*>(pre_tokenizer)) {
    for (const auto& part : sequence->parts()) parts.push_back(part.get());
  } else {
    parts.push_back(pre_tokenizer);
  }
  ByteLevelOnePass one_pass(*bpe);
  bool found = false;
  for (const PreTokenizer* part : parts) {
    if (const auto* splitter = dynamic_cast<const Splitter*>(part)) {
      if (found && !splitter->can_split_bytes()) return std::nullopt;
      (found ? one_pass.after_ : one_pass.before_).push_back(splitter);
    } else if (const auto* byte_level = dynamic_cast<const ByteLevelPreTokenizer*>(part)) {
      if (std::exchange(found, true)) return std::nullopt;
      one_pass.use_regex_ = byte_level->options().use_regex;
      one_pass.add_prefix_space_ = byte_level->options().add_prefix_space;
    } else {
      return std::nullopt;
    }
  }
  // A space goes before each of several words: that is left to the parts.
  if (!found || (one_pass.add_prefix_space_ && !one_pass.before_.empty())) return std::nullopt;
  return one_pass;
}

void ByteLevelOnePass::tokenize(std::string_view text, Piece piece, TokenSink& sink) const {
  std::vector<WordToken> tokens;
  std::vector<Piece> pieces, next, bytes;
  const auto add_word = [&](Piece word) {
    tokens.clear();
    model_->tokenize_bytes(text.substr(word.begin, word.end - word.begin), tokens);
    sink.next_word();
    for (const WordToken& token : tokens) {
      std::size_t begin = word.begin + token.begin, end = word.begin + token.end;
      while (continues_code_point(text, begin)) --begin;
      while (continues_code_point(text, end)) ++end;
      sink.add(token.id, {static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)});
    }
  };
  const auto add_bytes = [&](Piece word) {
    if (after_.empty()) {
      add_word(word);
      return;
    }
    bytes.assign(1, word);
    for (const Splitter* splitter : after_) {
      next.clear();
      for (const Piece& part : bytes) splitter->split_bytes(text, part, next);
      std::swap(bytes, next);
    }
    for (const Piece& part : bytes) add_word(part);
  };
  const auto add_words = [&](Piece part) {
    if (!use_regex_) {
      add_bytes(part);
      return;
    }
    for (std::size_t at = part.begin; at < part.end;) {
      const std::size_t end = end_of_gpt2_word(text, at, part.end);
      add_bytes({at, end});
      at = end;
    }
  };
  if (before_.empty()) {
    add_words(piece);
    return;
  }
  pieces.assign(1, piece);
  for (const Splitter* splitter : before_) {
    next.clear();
    for (const Piece& part : pieces) splitter->split(text, part, next);
    std::swap(pieces, next);
  }
  for (const Piece& part : pieces) add_words(part);
}

}  // namespace kvasir::text
