// Prompt-lookup decoding (Saxena 2023): what followed the last tokens where they occurred before is a good
// guess of what follows now, when answers are copied from passages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace kvasir::runtime {

// Up to `most` guesses of what follows ids: what followed the latest earlier occurrence of the last 3 ids,
// else of the last 2. Time: O(ids).
std::vector<std::int32_t> look_up(std::span<const std::int32_t> ids, std::size_t most);

}  // namespace kvasir::runtime
