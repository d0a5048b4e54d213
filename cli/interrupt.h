// Ctrl-C and SIGTERM: noted by a handler, acted upon where it is safe, so that nothing is left half-written.
#pragma once

#include <atomic>

namespace kvasir::cli {

// Thrown by check_interrupt(); main() turns it into exit code 128 + signal (130 for Ctrl-C).
struct Interrupted {
  int signal;
};

// Installs the handlers. A second signal of the same kind, before the first was acted upon, ends the process
// at once: whoever presses Ctrl-C twice does not want to wait.
void install_interrupt_handlers();

// Waits until fd can be read (or has ended), or written. False if a signal came, also one that came just
// before the call: a plain read() or write() would wait on in that case.
bool wait_readable(int fd) noexcept;
bool wait_writable(int fd) noexcept;

// While one lives, a signal ends the process at once: for work that does not look at the flag and leaves
// nothing behind, such as loading a model or reading a file that comes slowly.
class InterruptAtOnce {
 public:
  InterruptAtOnce();  // throws Interrupted if a signal came before
  ~InterruptAtOnce();
  InterruptAtOnce(const InterruptAtOnce&) = delete;
  InterruptAtOnce& operator=(const InterruptAtOnce&) = delete;
};

// For AskOptions::cancel and the like.
const std::atomic<bool>& interrupt_flag() noexcept;
void check_interrupt();  // throws Interrupted if a signal came
void clear_interrupt() noexcept;
int interrupt_signal() noexcept;  // the signal that came last; SIGINT if none did

}  // namespace kvasir::cli
