// Counts how often a folder's files are opened.
#pragma once

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>

namespace kvasir::tests {

class OpenedFiles {
 public:
  explicit OpenedFiles(const std::filesystem::path& folder) : events_(inotify_init1(IN_NONBLOCK)) {
    // Of events that follow each other the system keeps one if they are the same: closing makes them differ.
    if (events_ < 0 || inotify_add_watch(events_, folder.c_str(), IN_OPEN | IN_CLOSE) < 0) {
      throw std::runtime_error("cannot watch " + folder.string());
    }
  }
  ~OpenedFiles() { ::close(events_); }
  OpenedFiles(const OpenedFiles&) = delete;
  OpenedFiles& operator=(const OpenedFiles&) = delete;

  // Of each that was opened so far.
  const std::map<std::string, int>& counts() {
    std::array<char, 16384> buffer{};
    for (ssize_t size = 0; (size = ::read(events_, buffer.data(), buffer.size())) > 0;) {
      for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
        inotify_event event{};
        std::memcpy(&event, buffer.data() + at, sizeof event);
        const char* name = buffer.data() + at + sizeof event;
        if (event.len > 0 && (event.mask & IN_OPEN) != 0) ++counts_[name];
        at += sizeof event + event.len;
      }
    }
    return counts_;
  }

 private:
  int events_;
  std::map<std::string, int> counts_;
};

}  // namespace kvasir::tests
