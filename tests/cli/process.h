// Runs the built program as a process, with or without a terminal, and tells what came of it.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace kvasir::tests {

struct Command {
  std::vector<std::string> args = {};  // after the program's name
  std::string input = {};              // standard input; empty: /dev/null
  std::vector<std::string> env = {};   // "NAME=value" to set, "NAME" to unset
  std::string output_path = {};        // standard output goes to this file or device instead of Outcome::out
  // Without root's right to pass by permissions, also when the tests run as root. Outcome::exit_code is
  // kNotPossible if the system does not let us give it up.
  bool respect_permissions = false;
  bool close_output = false;    // standard output is not open
  std::string input_path = {};  // standard input comes from this file
};

inline constexpr int kNotPossible = 126;

struct Outcome {
  int exit_code = -1;  // 128 + signal if a signal ended it
  std::string out, err;
  long peak_kib = 0;  // largest resident size
  double seconds = 0;
};
Outcome run(const Command& command);

// The program on a terminal of its own.
struct TerminalOptions {
  int columns = 80, rows = 24;
  std::vector<std::string> env = {};
};
// Whether a pseudo-terminal can be opened here, as Terminal does. In a bare root directory without /dev/pts
// it cannot, although /dev/ptmx may be there.
bool terminals_exist();
inline constexpr const char* kNoTerminal = "skipped: no pseudo-terminal here";

class Terminal {
 public:
  using Options = TerminalOptions;
  explicit Terminal(const std::vector<std::string>& args, const Options& options = {});
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& keys);
  void signal(int number);
  // Reads until `text` was printed (since the last wait_for); false after `seconds`.
  bool wait_for(const std::string& text, double seconds = 30);
  int finish(double seconds = 30);  // reads to the end; the exit code, -1 if it does not end
  const std::string& printed() const { return printed_; }

 private:
  bool read_some(double seconds);
  int fd_ = -1;
  int pid_ = -1;
  std::string printed_;
  std::size_t seen_ = 0;
};

// A folder for one test, removed at its end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  // Writes a file into the folder; its path.
  std::string file(const std::string& name, const std::string& bytes) const;
  // Names of what lies in the folder.
  std::vector<std::string> names() const;

 private:
  std::string path_;
};

// The tiny golden model that most tests run.
std::string tiny_model(const std::string& family = "bert-uncased");
// A copy of tiny_model() in `folder` that may be spoilt.
std::string copy_model(const TemporaryFolder& folder, const std::string& name = "model");

}  // namespace kvasir::tests
