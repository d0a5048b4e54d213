// How a pair of texts that is too long is cut.
#pragma once

#include <cstddef>
#include <utility>

namespace kvasir::reranking {

// "longest_first" of the tokenizers library: how many of the first and of the second text's tokens are kept,
// from the beginning, where `room` of both may be. The longer one gives way first, until both are as long.
std::pair<std::size_t, std::size_t> longest_first(std::size_t first, std::size_t second,
                                                  std::size_t room) noexcept;

}  // namespace kvasir::reranking
