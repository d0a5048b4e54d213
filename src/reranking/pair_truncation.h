// Truncates a pair of texts that is too long.
#pragma once

#include <cstddef>
#include <utility>

namespace kvasir::reranking {

// "longest_first" of the tokenizers library: how many tokens of the first and of the second text are kept,
// from the beginning, so that both together fit into `room`. The longer text is shortened first, until both
// have the same length.
std::pair<std::size_t, std::size_t> longest_first(std::size_t first, std::size_t second,
                                                  std::size_t room) noexcept;

}  // namespace kvasir::reranking
