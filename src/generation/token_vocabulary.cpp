#include "generation/token_vocabulary.h"

#include <algorithm>

namespace kvasir::generation {

namespace {

std::vector<std::string> all_bytes(const text::Tokenizer& tokenizer) {
  std::vector<std::string> out(tokenizer.vocab_size());
  for (std::size_t id = 0; id < out.size(); ++id)
    out[id] = tokenizer.token_bytes(static_cast<std::int32_t>(id));
  return out;
}

}  // namespace

TokenVocabulary::TokenVocabulary(const text::Tokenizer& tokenizer) : TokenVocabulary(all_bytes(tokenizer)) {}

TokenVocabulary::TokenVocabulary(const std::vector<std::string>& tokens) : has_byte_(256) {
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const std::string& token = tokens[id];
    spans_.push_back({static_cast<std::uint32_t>(pool_.size()), static_cast<std::uint32_t>(token.size())});
    pool_ += token;
    if (!token.empty()) sorted_.push_back({static_cast<std::int32_t>(id), 0});
    if (token.size() == 1) has_byte_[static_cast<std::uint8_t>(token[0])] = true;
  }
  std::stable_sort(sorted_.begin(), sorted_.end(),
                   [&](const Entry& a, const Entry& b) { return bytes(a.id) < bytes(b.id); });
  for (std::size_t i = 1; i < sorted_.size(); ++i) {
    const std::string_view before = bytes(sorted_[i - 1].id), token = bytes(sorted_[i].id);
    const auto differ = std::mismatch(before.begin(), before.end(), token.begin(), token.end()).first;
    sorted_[i].common = static_cast<std::uint32_t>(differ - before.begin());
  }
}

std::string_view TokenVocabulary::bytes(std::int32_t id) const noexcept {
  if (id < 0 || static_cast<std::size_t>(id) >= spans_.size()) return {};
  const Span& span = spans_[static_cast<std::size_t>(id)];
  return std::string_view(pool_).substr(span.offset, span.length);
}

}  // namespace kvasir::generation
