#include "runtime/prompt_lookup.h"

#include <algorithm>

namespace kvasir::runtime {

namespace {

// Longer matches are rarer and right more often. One token alone says too little.
constexpr std::size_t kLongestMatch = 3, kShortestMatch = 2;

}  // namespace

std::vector<std::int32_t> look_up(std::span<const std::int32_t> ids, std::size_t most) {
  for (std::size_t n = kLongestMatch; n >= kShortestMatch && most > 0; --n) {
    if (ids.size() <= n) continue;
    const std::span<const std::int32_t> last = ids.last(n);
    for (std::size_t end = ids.size() - 1; end >= n; --end) {  // of the occurrence
      if (!std::ranges::equal(ids.subspan(end - n, n), last)) continue;
      const std::span<const std::int32_t> found = ids.subspan(end, std::min(most, ids.size() - end));
      return {found.begin(), found.end()};
    }
  }
  return {};
}

}  // namespace kvasir::runtime
