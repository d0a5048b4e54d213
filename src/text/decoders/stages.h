// What decoders do to tokens that come one after the other.
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

// Each token by itself: transform(token, index) is what becomes of it, if anything.
using TokenTransform = std::function<std::optional<std::string>(std::string token, std::size_t index)>;
std::unique_ptr<TokenStage> make_each_stage(TokenTransform transform, NextStage next);

// The suffix of words becomes a space, but nothing in the last token.
std::unique_ptr<TokenStage> make_word_suffix_stage(std::string suffix, NextStage next);

// All tokens become one: the bytes that to_bytes() makes of them, as UTF-8, U+FFFD for what is none.
std::unique_ptr<TokenStage> make_bytes_stage(std::function<std::string(std::string token)> to_bytes,
                                             NextStage next);

// Runs of tokens that to_byte() knows become one token, or U+FFFD for each if that is not UTF-8. What becomes
// of a run shows at its end.
std::unique_ptr<TokenStage> make_byte_runs_stage(std::function<std::optional<char>(std::string_view)> to_byte,
                                                 NextStage next);

// All tokens become one.
std::unique_ptr<TokenStage> make_fuse_stage(NextStage next);

struct StripOptions {
  std::string content;  // not empty
  std::size_t start = 0, stop = 0;
};
// Takes content away from the ends of each token, so many times at most.
std::unique_ptr<TokenStage> make_strip_stage(StripOptions options, NextStage next);

// Replaces a string, which is not empty, in each token.
std::unique_ptr<TokenStage> make_replace_stage(std::string from, std::string to, NextStage next);

}  // namespace kvasir::text
