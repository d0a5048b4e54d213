// kvasir/error.h: the one exception type of the library.
//
//   try {
//     auto reader = kvasir::Reader::load("models/my-reader");
//   } catch (const kvasir::Error& error) {
//     std::cerr << error.what() << '\n';                       // "…/config.json: key hidden_size is missing"
//     return error.code() == kvasir::ErrorCode::kNotFound ? 2 : 1;
//   }
#pragma once

#include <stdexcept>
#include <string>

namespace kvasir {

enum class ErrorCode {
  kInvalidArgument,  // the caller passed something that makes no sense: an empty question, top_k = 0
  kNotFound,         // a file, folder or model is not there
  kIo,      // the operating system refused or failed: permissions, full disk, a directory where a file is due
  kFormat,  // a file is there but malformed, truncated or contradicts itself
  kUnsupported,        // well-formed, but not something that this version can do
  kResourceExhausted,  // over a stated limit (size of a document, memory)
  kCancelled,          // the caller asked to stop
  kDiverged,           // in training, the loss or the gradients are no numbers any more
  kInternal,           // a bug in this library
};

// Lower-case name of a code: "invalid_argument", "not_found", …; never fails.
const char* error_code_name(ErrorCode code) noexcept;

// Thrown for whatever a user, a file or a peer can cause. what() is one line: where, what was wrong, what to
// do.
class Error : public std::runtime_error {
 public:
  // Control characters, which names in a file may hold, become '?'.
  Error(ErrorCode code, std::string message);
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace kvasir
