#include "reranking/pair_truncation.h"

#include <algorithm>

namespace kvasir::reranking {

std::pair<std::size_t, std::size_t> longest_first(std::size_t first, std::size_t second,
                                                  std::size_t room) noexcept {
  if (first + second <= room) return {first, second};
  const bool swapped = first > second;  // of equals the first counts as the shorter
  std::size_t shorter = std::min(first, second), longer = room > shorter ? room - shorter : 0;
  if (longer < shorter) {
    shorter = room / 2;
    longer = room - shorter;
  }
  return swapped ? std::pair{longer, shorter} : std::pair{shorter, longer};
}

}  // namespace kvasir::reranking
