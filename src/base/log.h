// Where the library's warnings go. The library never prints: it hands lines to a sink, and by default there
// is none.
#pragma once

#include <functional>
#include <string_view>

namespace kvasir::base {

enum class LogLevel { kDebug, kInfo, kWarning };

using LogSink = std::function<void(LogLevel level, std::string_view line)>;

// Replaces the sink for the whole process (empty = discard). Thread-safe.
void set_log_sink(LogSink sink);
void log(LogLevel level, std::string_view line);

}  // namespace kvasir::base
