#include "base/log.h"

#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "base/utf8.h"

namespace kvasir {

namespace {

std::mutex mutex;
std::shared_ptr<const LogSink> sink;

}  // namespace

void set_log_sink(LogSink new_sink) {
  auto shared = new_sink ? std::make_shared<const LogSink>(std::move(new_sink)) : nullptr;
  const std::lock_guard lock(mutex);
  sink.swap(shared);  // what the old sink holds is destroyed after the lock was released
}

namespace base {

void log(LogLevel level, std::string_view line) {
  std::shared_ptr<const LogSink> current;
  {
    const std::lock_guard lock(mutex);
    current = sink;
  }
  if (current) (*current)(level, one_line(std::string(line)));
}

}  // namespace base

}  // namespace kvasir
