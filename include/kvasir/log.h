// kvasir/log.h: warnings of the library, besides results and errors.
//
//   kvasir::set_log_sink([](kvasir::LogLevel, std::string_view line) { std::cerr << line << '\n'; });
//   auto reader = kvasir::Reader::load("models/my-reader");  // "…: 2 tensors are not part of the model …"
//
// The library never prints. Without a sink its warnings are discarded.
#pragma once

#include <functional>
#include <string_view>

namespace kvasir {

enum class LogLevel {
  kWarning,  // the call goes on, but its result may not be what was wanted
};

// Called with one line of text, without a line feed, from the thread that is inside the library, and from
// several at once if several are. Must not throw.
using LogSink = std::function<void(LogLevel level, std::string_view line)>;

// Replaces the sink of the whole process; null: warnings are discarded, as at the start. Thread-safe. A call
// of the old sink that is in progress on another thread may finish after this function has returned.
void set_log_sink(LogSink sink);

}  // namespace kvasir
