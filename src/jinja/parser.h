// Parses a template.
#pragma once

#include <string>
#include <string_view>

#include "jinja/syntax.h"

namespace kvasir::jinja {

// Throws "ORIGIN:LINE: …": kFormat for bad syntax, kUnsupported for tags of Jinja that chat templates do not
// use, kResourceExhausted for nesting over 100 levels.
Body parse(std::string_view source, const std::string& origin);

}  // namespace kvasir::jinja
