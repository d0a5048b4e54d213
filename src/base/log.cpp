#include "base/log.h"

#include <memory>
#include <mutex>
#include <utility>

namespace kvasir::base {

namespace {
std::mutex mutex;
std::shared_ptr<const LogSink> sink;
}  // namespace

void set_log_sink(LogSink new_sink) {
  auto shared = new_sink ? std::make_shared<const LogSink>(std::move(new_sink)) : nullptr;
  const std::lock_guard lock(mutex);
  sink = std::move(shared);
}

void log(LogLevel level, std::string_view line) {
  std::shared_ptr<const LogSink> current;
  {
    const std::lock_guard lock(mutex);
    current = sink;
  }
  if (current) (*current)(level, line);
}

}  // namespace kvasir::base
