// Any bytes as server-sent events: the same events in whatever pieces the bytes come, none empty, none of
// what follows the last empty line.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "remote/event_stream.h"

namespace {

// In pieces of 1, 2, … `most` bytes, or all at once.
std::vector<std::string> events_of(std::string_view bytes, std::size_t most) {
  kvasir::remote::EventStream stream;
  std::vector<std::string> events;
  for (std::size_t at = 0, length = 1; at < bytes.size(); at += length, length = length % most + 1) {
    const std::string_view piece = bytes.substr(at, most == 0 ? bytes.size() : length);
    if (!stream.push(piece, [&](std::string_view data) { events.emplace_back(data); })) break;
    if (most == 0) break;
  }
  return events;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::vector<std::string> events = events_of(bytes, 0);
  for (const std::size_t most : {1U, 2U, 7U}) {
    if (events_of(bytes, most) != events) __builtin_trap();
  }
  std::size_t total = 0;
  for (const std::string& event : events) {
    if (event.empty() || event.find('\r') != std::string::npos) __builtin_trap();
    total += event.size();
  }
  if (total > size) __builtin_trap();
  // An event ends with an empty line.
  if (bytes.find("\n\n") == bytes.npos && bytes.find("\r\r") == bytes.npos &&
      bytes.find("\n\r") == bytes.npos && !events.empty()) {
    __builtin_trap();
  }
  return 0;
}
