// Guesses the next tokens from the text so far: answers copy from their passages. A model checks several
// guessed tokens in one step, so what it copies costs fewer steps; the output stays the same.
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
  // Of the tokens at the end, the longest run of so many that was there before counts. One token alone says
  // little of what follows; more than eight rarely occur without their last eight.
  std::size_t min_ngram = 2, max_ngram = 8;
};

class PromptLookup {
 public:
  // Throws kInvalidArgument for options that are not 1 <= min_ngram <= max_ngram <= 64.
  PromptLookup(const PromptLookupOptions& options, std::span<const std::int32_t> prompt);

  void append(std::int32_t id);  // time for max_ngram hashes, however long the text is
  // Up to `most` tokens that followed the latest earlier occurrence; empty if there is none. An occurrence
  // that runs into the end repeats itself.
  std::vector<std::int32_t> propose(std::size_t most) const;

  std::span<const std::int32_t> tokens() const noexcept { return tokens_; }

 private:
  bool same(std::size_t end, std::size_t other_end, std::size_t length) const noexcept;

  PromptLookupOptions options_;
  std::vector<std::int32_t> tokens_;
  std::unordered_map<std::uint64_t, std::size_t> ends_;  // by hash of an n-gram: where it last ended
  std::size_t match_ = 0;  // where the longest one at the end ended before; 0: none
};

}  // namespace kvasir::generation
