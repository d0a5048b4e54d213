// Texts taken apart into passages, for ranking.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::cli {

enum class PassageUnit { kParagraph, kLine, kFile };
PassageUnit parse_passage_unit(std::string_view name);  // "paragraph", "line", "file"

struct PassageSpan {
  std::size_t begin = 0, end = 0;  // bytes, white space at the edges left out
};
// Those that are not blank. A paragraph ends at an empty line.
std::vector<PassageSpan> passages_of(std::string_view text, PassageUnit unit);

}  // namespace kvasir::cli
