#include "passages.h"

#include <algorithm>

namespace kvasir::cli {

namespace {

constexpr std::string_view kBlanks = " \t\r\n\f\v";

void add(std::string_view text, std::size_t begin, std::size_t end, std::vector<PassageSpan>& passages) {
  const std::string_view part = text.substr(begin, end - begin);
  const std::size_t first = part.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return;
  passages.push_back({.begin = begin + first, .end = begin + part.find_last_not_of(kBlanks) + 1});
}

}  // namespace

PassageUnit parse_passage_unit(std::string_view name) {
  if (name == "line") return PassageUnit::kLine;
  return name == "file" ? PassageUnit::kFile : PassageUnit::kParagraph;
}

std::vector<PassageSpan> passages_of(std::string_view text, PassageUnit unit) {
  std::vector<PassageSpan> passages;
  if (unit == PassageUnit::kFile) {
    add(text, 0, text.size(), passages);
    return passages;
  }
  std::size_t begin = 0;  // of the passage
  for (std::size_t line = 0; line < text.size();) {
    const std::size_t newline = std::min(text.find('\n', line), text.size());
    const bool is_blank =
        text.substr(line, newline - line).find_first_not_of(kBlanks) == std::string_view::npos;
    if (unit == PassageUnit::kLine || is_blank) {
      add(text, begin, newline, passages);
      begin = newline;
    }
    line = newline + 1;
  }
  add(text, begin, text.size(), passages);
  return passages;
}

}  // namespace kvasir::cli
