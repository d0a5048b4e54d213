// Server-sent events (WHATWG HTML, 9.2), as far as APIs use them: lines "data: …", an event ends with an
// empty line.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace kvasir::remote {

class EventStream {
 public:
  // Longest event; no valid answer has a longer one.
  static constexpr std::size_t kMostBytes = std::size_t{16} << 20;

  // Takes bytes as they arrive; calls on_data with the data of each complete event. False: an event is too
  // long.
  bool push(std::string_view bytes, const std::function<void(std::string_view data)>& on_data);

 private:
  std::string line_, data_;
  bool after_return_ = false;  // a line feed that follows belongs to the same line end
};

}  // namespace kvasir::remote
