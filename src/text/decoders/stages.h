// The stages of decoders, for tokens that arrive one by one.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "text/decoders/decoder.h"

namespace kvasir::text {

using NextStage = std::unique_ptr<TokenStage>;

// Changes each token separately: transform(token, index) is its new form, or nullopt to drop it.
using TokenTransform = std::function<std::optional<std::string>(std::string token, std::size_t index)>;
std::unique_ptr<TokenStage> make_each_stage(TokenTransform transform, NextStage next);

// Replaces the suffix of words by a space, or by nothing in the last token.
std::unique_ptr<TokenStage> make_word_suffix_stage(std::string suffix, NextStage next);

// All tokens become one: the bytes that to_bytes() makes of them, as UTF-8, with U+FFFD for invalid parts.
std::unique_ptr<TokenStage> make_bytes_stage(std::function<std::string(std::string token)> to_bytes,
                                             NextStage next);

// A run of tokens for which to_byte() has a byte becomes one token, or U+FFFD for each if the bytes are not
// UTF-8. Which of the two is known only at the end of the run.
std::unique_ptr<TokenStage> make_byte_runs_stage(std::function<std::optional<char>(std::string_view)> to_byte,
                                                 NextStage next);

// All tokens become one.
std::unique_ptr<TokenStage> make_fuse_stage(NextStage next);

struct StripOptions {
  std::string content;  // not empty
  std::size_t start = 0, stop = 0;
};
// Removes content from the ends of each token, up to the given number of times.
std::unique_ptr<TokenStage> make_strip_stage(StripOptions options, NextStage next);

// Replaces a string, which is not empty, in each token.
std::unique_ptr<TokenStage> make_replace_stage(std::string from, std::string to, NextStage next);

}  // namespace kvasir::text
