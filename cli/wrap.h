// Text laid out in lines for a terminal, with a part of it marked.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "terminal.h"

namespace kvasir::cli {

// One line of text, broken at spaces to `width` columns (0 = not at all), each line indented by `indent`
// spaces. [mark_begin, mark_end) is printed in style.answer, or between ** and ** without colour. Ends with a
// newline.
struct WrapOptions {
  std::size_t width = 0;
  std::size_t indent = 2;
  std::size_t mark_begin = 0, mark_end = 0;  // bytes of the text; equal = no mark
};
std::string wrap(std::string_view text, const Style& style, const WrapOptions& options);

}  // namespace kvasir::cli
