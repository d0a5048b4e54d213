#include "remote/event_stream.h"

namespace kvasir::remote {

bool EventStream::push(std::string_view bytes, const std::function<void(std::string_view)>& on_data) {
  for (const char c : bytes) {
    if (c == '\n' && after_return_) {
      after_return_ = false;
      continue;
    }
    after_return_ = c == '\r';
    if (c != '\n' && c != '\r') {
      line_ += c;
      if (line_.size() + data_.size() > kMostBytes) return false;
      continue;
    }
    if (line_.empty()) {
      if (!data_.empty()) on_data(data_);
      data_.clear();
    } else if (line_.starts_with("data:")) {
      if (!data_.empty()) data_ += '\n';
      const std::size_t begin = line_.size() > 5 && line_[5] == ' ' ? 6 : 5;
      data_ += std::string_view(line_).substr(begin);
    }
    line_.clear();
  }
  return true;
}

}  // namespace kvasir::remote
