#include "generation/prompt_lookup.h"

#include <algorithm>
#include <string>

#include "kvasir/error.h"

namespace kvasir::generation {

PromptLookup::PromptLookup(const PromptLookupOptions& options, std::span<const std::int32_t> prompt)
    : options_(options) {
  constexpr std::size_t kMaxNgram = 64;
  if (options.min_ngram < 1 || options.min_ngram > options.max_ngram || options.max_ngram > kMaxNgram) {
    throw Error(ErrorCode::kInvalidArgument, "options min_ngram = " + std::to_string(options.min_ngram) +
                                                 ", max_ngram = " + std::to_string(options.max_ngram) +
                                                 " are not 1 <= min <= max <= 64");
  }
  tokens_.reserve(prompt.size());
  for (const std::int32_t id : prompt) append(id);
}

bool PromptLookup::same(std::size_t end, std::size_t other_end, std::size_t length) const noexcept {
  if (length > end || length > other_end) return false;
  const auto at = [&](std::size_t i) { return tokens_.begin() + static_cast<std::ptrdiff_t>(i); };
  return std::equal(at(end - length), at(end), at(other_end - length));
}

void PromptLookup::append(std::int32_t id) {
  tokens_.push_back(id);
  match_ = 0;
  std::uint64_t hash =
      0xCBF29CE484222325;  // FNV-1a over the tokens, backwards: each n-gram's continues the shorter's
  const std::size_t longest = std::min(options_.max_ngram, tokens_.size());
  for (std::size_t length = 1; length <= longest; ++length) {
    hash = (hash ^ static_cast<std::uint32_t>(tokens_[tokens_.size() - length])) * 0x100000001B3;
    if (length < options_.min_ngram) continue;
    std::size_t& end = ends_[hash ^ length << 56];
    // Two n-grams may share a hash, so the tokens decide.
    if (end != 0 && same(tokens_.size(), end, length)) match_ = end;
    end = tokens_.size();
  }
}

std::vector<std::int32_t> PromptLookup::propose(std::size_t most) const {
  std::vector<std::int32_t> out;
  if (match_ == 0) return out;
  out.reserve(most);
  for (std::size_t i = 0; i < most; ++i) {
    const std::size_t at = match_ + i;
    out.push_back(at < tokens_.size() ? tokens_[at] : out[at - tokens_.size()]);
  }
  return out;
}

}  // namespace kvasir::generation
