#include "documents/process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::documents {

namespace {

constexpr std::size_t kMaxErrors = 4096;
constexpr std::int64_t kCancelMilliseconds = 100;  // how late a cancellation may be noticed

[[noreturn]] void fail_system(const char* what) {
  throw Error(ErrorCode::kIo, std::string(what) + ": " + std::strerror(errno));
}

class Pipe {
 public:
  Pipe() {
    if (::pipe2(fds_, O_CLOEXEC) != 0) fail_system("no pipe for a converter");
  }
  ~Pipe() { close_reader(), close_writer(); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int reader() const noexcept { return fds_[0]; }
  int writer() const noexcept { return fds_[1]; }
  void close_reader() noexcept { close(fds_[0]); }
  void close_writer() noexcept { close(fds_[1]); }

 private:
  static void close(int& fd) noexcept {
    if (fd >= 0) ::close(std::exchange(fd, -1));
  }
  int fds_[2];
};

// Ends the process when it goes out of scope.
struct Child {
  pid_t pid;
  bool waited = false;
  int wait() {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    waited = true;
    return status;
  }
  ~Child() {
    if (waited) return;
    ::kill(pid, SIGKILL);
    wait();
  }
};

// Writing to a process that no longer reads must fail, not end this program.
class IgnoredPipeSignal {
 public:
  IgnoredPipeSignal() {
    ::sigemptyset(&set_), ::sigaddset(&set_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~IgnoredPipeSignal() {
    const timespec now{0, 0};
    ::sigtimedwait(&set_, nullptr, &now);  // one that came is dropped
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  IgnoredPipeSignal(const IgnoredPipeSignal&) = delete;
  IgnoredPipeSignal& operator=(const IgnoredPipeSignal&) = delete;

 private:
  sigset_t set_, before_;
};

struct Streams {
  Pipe in, out, err;
};

// Limits of a process that has just begun. (Its first microseconds are its program being loaded.)
void limit(pid_t pid, const FilterCall& call) {
  const auto set = [&](auto resource, std::size_t value) {
    const struct rlimit both { value, value };
    ::prlimit(pid, resource, &both, nullptr);
  };
  set(RLIMIT_AS, call.max_memory);
  set(RLIMIT_CPU, static_cast<std::size_t>(call.timeout_seconds) + 1);
  set(RLIMIT_CORE, 0);
}

// The process, or -1 if there is no such program.
pid_t spawn(const FilterCall& call, const Streams& streams) {
  std::vector<char*> arguments;
  for (const std::string& word : call.command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_adddup2(&files, streams.in.reader(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, streams.out.writer(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, streams.err.writer(), STDERR_FILENO);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none, pipe_signal;
  ::sigemptyset(&none), ::sigemptyset(&pipe_signal), ::sigaddset(&pipe_signal, SIGPIPE);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &pipe_signal);
  // A group of its own: Ctrl-C is for the program that waits, which then ends this one.
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t pid = -1;
  errno = ::posix_spawnp(&pid, arguments[0], &files, &attributes, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (errno == ENOENT) return -1;
  if (errno != 0) fail_system(call.command.front().c_str());
  limit(pid, call);
  return pid;
}

// Appends what can be read, up to `most` bytes in all; false at the end of the stream.
bool take(int fd, std::string& to, std::size_t most) {
  std::array<char, 65536> buffer;
  const ssize_t got = ::read(fd, buffer.data(), buffer.size());
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  const auto bytes = static_cast<std::size_t>(got);
  if (to.size() < most) to.append(buffer.data(), std::min(bytes, most - to.size()));
  return got > 0;
}

// Feeds and reads until the process has closed its output; how that ended.
FilterResult::End exchange_data(const FilterCall& call, Streams& streams, FilterResult& result) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::seconds(call.timeout_seconds);
  std::string_view left = call.input;
  ::fcntl(streams.in.writer(), F_SETFL, O_NONBLOCK);
  bool writing = true, reading = true, listening = true;
  while (reading || listening) {
    const std::int64_t wait =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (wait <= 0) return FilterResult::End::kTimeout;
    if (call.cancel != nullptr && *call.cancel) return FilterResult::End::kCancelled;
    struct pollfd fds[3] = {{reading ? streams.out.reader() : -1, POLLIN, 0},
                            {listening ? streams.err.reader() : -1, POLLIN, 0},
                            {writing ? streams.in.writer() : -1, POLLOUT, 0}};
    const std::int64_t pause = call.cancel == nullptr ? wait : std::min(wait, kCancelMilliseconds);
    if (::poll(fds, 3, static_cast<int>(pause)) < 0 && errno != EINTR) fail_system("a converter");
    if (fds[0].revents != 0) reading = take(streams.out.reader(), result.output, call.max_output + 1);
    if (fds[1].revents != 0) listening = take(streams.err.reader(), result.errors, kMaxErrors);
    if (result.output.size() > call.max_output) return FilterResult::End::kTooMuchOutput;
    if (fds[2].revents == 0) continue;
    const ssize_t written =
        left.empty() ? 0
                     : ::write(streams.in.writer(), left.data(), std::min(left.size(), std::size_t{65536}));
    if (written > 0) left.remove_prefix(static_cast<std::size_t>(written));
    if (left.empty() || (written < 0 && errno != EAGAIN && errno != EINTR)) {
      streams.in.close_writer();
      writing = false;
    }
  }
  return FilterResult::End::kExited;
}

}  // namespace

FilterResult run_filter(const FilterCall& call) {
  const IgnoredPipeSignal guard;
  Streams streams;
  FilterResult result;
  const int pid = spawn(call, streams);
  if (pid < 0) {
    result.end = FilterResult::End::kNotFound;
    return result;
  }
  Child child{pid};
  streams.in.close_reader(), streams.out.close_writer(), streams.err.close_writer();
  result.end = exchange_data(call, streams, result);
  if (result.end != FilterResult::End::kExited) return result;  // ~Child ends it
  const int status = child.wait();
  if (WIFSIGNALED(status)) {
    const bool time = WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL;
    result.end = time ? FilterResult::End::kTimeout : FilterResult::End::kKilled;
    result.code = WTERMSIG(status);
  } else {
    result.code = WEXITSTATUS(status);
  }
  return result;
}

}  // namespace kvasir::documents
