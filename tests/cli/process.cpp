#include "process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace kvasir::tests {

namespace {

// A program that hangs fails its test after this many seconds (sanitizer builds are ten times slower).
constexpr double kTimeout = 120;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The environment of the tests without what would change the outcome.
void set_environment(const std::vector<std::string>& changes) {
  for (const char* name : {"KVASIR_MODEL", "NO_COLOR", "XDG_STATE_HOME", "HF_HOME", "HF_HUB_CACHE",
                           "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN",
                           "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "http_proxy",
                           "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"})
    ::unsetenv(name);
  for (const std::string& change : changes) {
    const std::size_t equals = change.find('=');
    if (equals == std::string::npos) {
      ::unsetenv(change.c_str());
    } else {
      ::setenv(change.substr(0, equals).c_str(), change.substr(equals + 1).c_str(), 1);
    }
  }
}

[[noreturn]] void execute(const std::vector<std::string>& args) {
  std::vector<char*> argv;
  std::string name = "kvasir";
  argv.push_back(name.data());
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::execv(KVASIR_PROGRAM, argv.data());
  ::_exit(127);
}

std::string contents(int fd) {
  std::string text;
  char buffer[65536];
  ::lseek(fd, 0, SEEK_SET);
  for (ssize_t got; (got = ::read(fd, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  return text;
}

// What exec() gives root is cut by the bounding set.
bool give_up_privileges() {
  return ::geteuid() != 0 || (::prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) == 0 &&
                              ::prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0) == 0);
}

int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct Memory {
  int fd = ::memfd_create("kvasir-test", MFD_CLOEXEC);
  ~Memory() { ::close(fd); }
};

}  // namespace

Outcome run(const Command& command) {
  const Memory in, out, err;
  if (::write(in.fd, command.input.data(), command.input.size()) !=
      static_cast<ssize_t>(command.input.size())) {
    throw std::runtime_error("cannot prepare the input");
  }
  ::lseek(in.fd, 0, SEEK_SET);
  const double start = now();
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid == 0) {
    const std::string input = command.input_path.empty() ? "/dev/null" : command.input_path;
    ::dup2(command.input.empty() ? ::open(input.c_str(), O_RDONLY) : in.fd, 0);
    ::dup2(command.output_path.empty() ? out.fd : ::open(command.output_path.c_str(), O_WRONLY), 1);
    ::dup2(err.fd, 2);
    if (command.close_output) ::close(1);
    if (command.respect_permissions && !give_up_privileges()) ::_exit(kNotPossible);
    set_environment(command.env);
    execute(command.args);
  }
  Outcome outcome;
  int status = 0;
  struct rusage usage {};
  while (::wait4(pid, &status, WNOHANG, &usage) == 0) {
    if (now() - start > kTimeout) ::kill(pid, SIGKILL);
    ::usleep(2000);
  }
  outcome.exit_code = exit_code(status);
  outcome.seconds = now() - start;
  outcome.peak_kib = usage.ru_maxrss;
  outcome.out = contents(out.fd);
  outcome.err = contents(err.fd);
  return outcome;
}

bool terminals_exist() {
  int controller = -1, terminal = -1;
  if (::openpty(&controller, &terminal, nullptr, nullptr, nullptr) != 0) return false;
  ::close(controller);
  ::close(terminal);
  return true;
}

Terminal::Terminal(const std::vector<std::string>& args, const Options& options) {
  struct winsize size {};
  size.ws_col = static_cast<unsigned short>(options.columns);
  size.ws_row = static_cast<unsigned short>(options.rows);
  pid_ = ::forkpty(&fd_, nullptr, nullptr, &size);
  if (pid_ < 0) throw std::runtime_error("forkpty failed");
  if (pid_ == 0) {
    ::setenv("TERM", "xterm-256color", 1);
    set_environment(options.env);
    execute(args);
  }
}

Terminal::~Terminal() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ::close(fd_);
}

void Terminal::type(const std::string& keys) {
  if (::write(fd_, keys.data(), keys.size()) != static_cast<ssize_t>(keys.size())) {
    throw std::runtime_error("cannot type");
  }
}

void Terminal::signal(int number) {
  ::kill(pid_, number);
}

// False at the end of the program's output or after `seconds`.
bool Terminal::read_some(double seconds) {
  struct pollfd event {
    fd_, POLLIN, 0
  };
  if (::poll(&event, 1, static_cast<int>(seconds * 1000)) <= 0) return false;
  char buffer[4096];
  const ssize_t got = ::read(fd_, buffer, sizeof buffer);
  if (got <= 0) return false;
  printed_.append(buffer, static_cast<std::size_t>(got));
  return true;
}

bool Terminal::wait_for(const std::string& text, double seconds) {
  const double deadline = now() + seconds;
  while (true) {
    if (const std::size_t at = printed_.find(text, seen_); at != std::string::npos) {
      seen_ = at + text.size();
      return true;
    }
    const double left = deadline - now();
    if (left <= 0 || !read_some(left)) return false;
  }
}

int Terminal::finish(double seconds) {
  const double deadline = now() + seconds;
  while (now() < deadline && read_some(deadline - now())) {
  }
  int status = 0;
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (now() > deadline) return -1;
    ::usleep(2000);
  }
  pid_ = -1;
  return exit_code(status);
}

TemporaryFolder::TemporaryFolder() : path_("/tmp/kvasir-test-XXXXXX") {
  if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryFolder::file(const std::string& name, const std::string& bytes) const {
  const std::string path = path_ + "/" + name;
  std::ofstream out(path, std::ios::binary);
  out << bytes;
  if (!out.flush()) throw std::runtime_error("cannot write " + path);
  return path;
}

std::vector<std::string> TemporaryFolder::names() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

std::string tiny_model(const std::string& family) {
  return KVASIR_TEST_DATA "/encoders-qa/" + family;
}

std::string copy_model(const TemporaryFolder& folder, const std::string& name) {
  const std::string path = folder.path() + "/" + name;
  std::filesystem::create_directory(path);
  for (const char* file :
       {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"}) {
    std::filesystem::copy_file(tiny_model() + "/" + file, path + "/" + file);
  }
  return path;
}

}  // namespace kvasir::tests
