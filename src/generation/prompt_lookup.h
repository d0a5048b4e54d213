// Guesses the next tokens from the text so far, because answers copy from their passages. A model checks
// several guessed tokens in one step, so copied text takes fewer steps; the output stays the same.
//
//   PromptLookup lookup({}, prompt_ids);
//   const auto guess = lookup.propose(8);   // what followed the last time that the text went like this
//   for (id that the model accepted) lookup.append(id);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace kvasir::generation {

struct PromptLookupOptions {
  // The longest run of tokens at the end, of min_ngram to max_ngram, that occurred earlier is used. One token
  // alone says little about what follows; runs of more than eight rarely recur where their last eight do not.
  std::size_t min_ngram = 2, max_ngram = 8;
};

class PromptLookup {
 public:
  // Throws kInvalidArgument for options that are not 1 <= min_ngram <= max_ngram <= 64.
  PromptLookup(const PromptLookupOptions& options, std::span<const std::int32_t> prompt);

  void append(std::int32_t id);  // takes max_ngram hashes, however long the text is
  // Up to `most` tokens that followed the latest earlier occurrence; empty if there is none. An occurrence
  // that reaches the end of the text is continued by repeating it.
  std::vector<std::int32_t> propose(std::size_t most) const;

  std::span<const std::int32_t> tokens() const noexcept { return tokens_; }

 private:
  bool same(std::size_t end, std::size_t other_end, std::size_t length) const noexcept;

  PromptLookupOptions options_;
  std::vector<std::int32_t> tokens_;
  std::unordered_map<std::uint64_t, std::size_t> ends_;  // by hash of an n-gram: where it last ended
  std::size_t match_ = 0;  // where the longest n-gram at the end ended earlier; 0: none
};

}  // namespace kvasir::generation
