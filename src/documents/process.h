// Runs another program as a filter, from bytes to bytes, with limits.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::documents {

struct FilterCall {
  std::vector<std::string> command;  // searched for in PATH
  std::string_view input;
  std::size_t max_output = 0;  // bytes
  std::size_t max_memory = 0;  // bytes of address space
  int timeout_seconds = 0;     // of elapsed time, and of processor time
  const std::atomic<bool>* cancel = nullptr;
};

struct FilterResult {
  enum class End { kExited, kKilled, kTimeout, kTooMuchOutput, kCancelled, kNotFound };
  End end = End::kExited;
  int code = 0;  // exit status, or the signal
  std::string output;
  std::string errors;  // the first lines of its standard error
};

// Throws kIo if no process can be started. The process is gone when this returns.
FilterResult run_filter(const FilterCall& call);

}  // namespace kvasir::documents
