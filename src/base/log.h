// How the library issues warnings: lines for the sink that kvasir/log.h describes.
#pragma once

#include <string_view>

#include "kvasir/log.h"

namespace kvasir::base {

// Control characters, which names in a file may hold, become '?', so that it is one line.
void log(LogLevel level, std::string_view line);

}  // namespace kvasir::base
