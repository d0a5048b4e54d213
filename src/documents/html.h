// HTML as part of other formats.
#pragma once

#include <cstddef>
#include <string_view>

#include "documents/text_builder.h"

namespace kvasir::documents {

// Appends the text of a page, which is UTF-8. first_line: the line of the file on which the page begins, so
// that lines are marked; 0: no marks. Throws kResourceExhausted for pages that are too large or nested too
// deeply.
void append_html(std::string_view html, std::size_t first_line, const ConvertOptions& options,
                 TextBuilder& out);

}  // namespace kvasir::documents
