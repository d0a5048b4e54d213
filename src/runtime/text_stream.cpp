#include "runtime/text_stream.h"

#include <algorithm>

namespace kvasir::runtime {

namespace {

constexpr std::string_view kReplacement = "\uFFFD";

// Bytes at the end of text that could be the beginning of one of the strings.
std::size_t partial_match(std::string_view text, const std::vector<std::string>& strings) {
  std::size_t longest = 0;
  for (const std::string& s : strings) {
    for (std::size_t n = std::min(text.size(), s.empty() ? 0 : s.size() - 1); n > longest; --n) {
      if (text.ends_with(std::string_view(s).substr(0, n))) longest = n;
    }
  }
  return longest;
}

// "<0xE2>": a run of these becomes characters, or none, when it has ended.
bool is_byte_token(std::string_view token) {
  return token.size() == 6 && token.starts_with("<0x") && token.ends_with('>');
}

}  // namespace

std::string TextStream::push(std::int32_t id) {
  ids_.push_back(id);
  if (is_byte_token(tokenizer_.token(id))) return {};
  const std::string all =
      tokenizer_.decode(ids_, {.skip_special_tokens = true,
                               .clean_up_tokenization_spaces = tokenizer_.cleans_up_tokenization_spaces()});
  return give(all, false);
}

std::string TextStream::finish() {
  const std::string all =
      tokenizer_.decode(ids_, {.skip_special_tokens = true,
                               .clean_up_tokenization_spaces = tokenizer_.cleans_up_tokenization_spaces()});
  return give(all, true);
}

std::string TextStream::give(std::string_view all, bool at_end) {
  if (stopped_) return {};
  std::size_t end = all.size();
  for (const std::string& s : stop_) {
    if (s.empty()) continue;
    const std::size_t from = given_.size() >= s.size() ? given_.size() - s.size() : 0;
    if (const std::size_t at = all.find(s, from); at != std::string_view::npos && at <= end) {
      end = at;
      stopped_ = true;
    }
  }
  if (!at_end && !stopped_) {
    end -= partial_match(all, stop_);
    // A character whose bytes are still to come, and a space that may vanish before punctuation.
    while (all.substr(0, end).ends_with(kReplacement)) end -= kReplacement.size();
    if (end > 0 && all[end - 1] == ' ') --end;
  }
  if (end <= given_.size()) return {};
  std::string fresh(all.substr(given_.size(), end - given_.size()));
  given_ += fresh;
  return fresh;
}

}  // namespace kvasir::runtime
