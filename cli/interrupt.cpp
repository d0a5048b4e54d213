#include "interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace kvasir::cli {

namespace {

std::atomic<bool> requested{false};
std::atomic<bool> at_once{false};
std::atomic<int> signal_number{SIGINT};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free,
              "a signal handler may use lock-free atomics only");

// A byte in this pipe says that a signal came: poll() sees it, whenever that was.
int notice[2] = {-1, -1};

void on_signal(int signal) {
  signal_number = signal;
  if (requested.exchange(true) || at_once) ::_exit(128 + signal);
  const int error = errno;
  [[maybe_unused]] const ssize_t ignored = ::write(notice[1], "!", 1);
  errno = error;
}

}  // namespace

void install_interrupt_handlers() {
  if (::pipe2(notice, O_CLOEXEC | O_NONBLOCK) != 0) notice[0] = notice[1] = -1;  // poll() skips it then
  struct sigaction action {};
  action.sa_handler = on_signal;  // no SA_RESTART: a blocked read or write shall return and see the flag
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction inherited {};
    sigaction(signal, nullptr, &inherited);
    if (inherited.sa_handler != SIG_IGN)
      sigaction(signal, &action, nullptr);  // nohup and "&" keep their meaning
  }
  // A closed pipe is reported by write(), so that cleaning up still happens.
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

const std::atomic<bool>& interrupt_flag() noexcept {
  return requested;
}

void check_interrupt() {
  if (requested) throw Interrupted{signal_number};
}

void clear_interrupt() noexcept {
  char bytes[64];
  while (::read(notice[0], bytes, sizeof bytes) > 0) {
  }
  requested = false;
}

namespace {

bool wait_for(int fd, short event) noexcept {
  struct pollfd events[2] = {{fd, event, 0}, {notice[0], POLLIN, 0}};
  while (true) {
    const int ready = ::poll(events, 2, -1);
    if (requested) return false;
    if (ready > 0 || errno != EINTR) return true;  // what is wrong with fd, read() or write() will say
  }
}

}  // namespace

bool wait_readable(int fd) noexcept {
  return wait_for(fd, POLLIN);
}

bool wait_writable(int fd) noexcept {
  return wait_for(fd, POLLOUT);
}

InterruptAtOnce::InterruptAtOnce() {
  at_once = true;
  if (!requested) return;
  at_once = false;
  check_interrupt();
}

InterruptAtOnce::~InterruptAtOnce() {
  at_once = false;
}

int interrupt_signal() noexcept {
  return signal_number;
}

}  // namespace kvasir::cli
