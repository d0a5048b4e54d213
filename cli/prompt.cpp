#include "prompt.h"

#include <histedit.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "base/utf8.h"
#include "interrupt.h"
#include "kvasir/error.h"

namespace kvasir::cli {

namespace {

constexpr int kHistoryLines = 1000;

constexpr const char* kHelp =
    "Type a question and press Enter. Up and Down bring earlier questions back.\n"
    "Ctrl-C stops the answer that is being looked for, Ctrl-D leaves.\n"
    ":help    this help\n"
    ":quit    leave\n";

// $XDG_STATE_HOME/kvasir/NAME; empty if there is no home for it.
std::filesystem::path history_path(const std::string& name) {
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state == '/') {
    return std::filesystem::path(state) / "kvasir" / name;
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') {
    return std::filesystem::path(home) / ".local" / "state" / "kvasir" / name;
  }
  return {};
}

std::vector<std::string> load_history(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  std::string text;
  try {
    text = base::read_file(path, {.max_bytes = std::size_t{4} << 20});
  } catch (const Error&) {
    return lines;  // none yet, or not readable: questions can be asked all the same
  }
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// Best effort: a folder that cannot be written to loses the history, nothing else.
void save_history(const std::filesystem::path& path, const std::vector<std::string>& lines) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) return;
  std::filesystem::permissions(path.parent_path(), std::filesystem::perms::owner_all, error);
  try {
    base::AtomicFile file(path);
    const std::size_t first = lines.size() > kHistoryLines ? lines.size() - kHistoryLines : 0;
    for (std::size_t i = first; i < lines.size(); ++i) file.write(lines[i] + '\n');
    file.commit();
  } catch (const Error&) {
  }
}

// One byte of standard input: 1, 0 at its end, -1 for an error or when a signal wants the program to stop.
// (What libedit reads with by default goes on reading after a signal.)
int read_byte(unsigned char& byte) {
  while (wait_readable(STDIN_FILENO)) {
    const ssize_t got = ::read(STDIN_FILENO, &byte, 1);
    if (got >= 0 || errno != EINTR) return static_cast<int>(got);
  }
  return -1;
}

// One character, for EL_GETCFN. What is not UTF-8 becomes U+FFFD.
int read_character(EditLine*, wchar_t* character) {
  unsigned char byte = 0;
  if (const int got = read_byte(byte); got <= 0) return got;
  // A Ctrl-D that was typed while an answer was looked for was an end of file to the terminal then, and is a
  // zero now.
  if (byte == 0) byte = 4;
  std::string bytes(1, static_cast<char>(byte));
  const std::size_t length = byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
  while (bytes.size() < length) {
    if (const int got = read_byte(byte); got <= 0) return got;
    bytes += static_cast<char>(byte);
  }
  const bool valid = base::find_invalid_utf8(bytes) == bytes.size();
  *character = static_cast<wchar_t>(valid ? base::decode_utf8(bytes, 0).value : U'\uFFFD');
  return 1;
}

}  // namespace

struct Prompt::Impl {
  EditLine* editor = nullptr;
  History* past = nullptr;
  HistEvent event{};
  std::filesystem::path path;
  std::string text;        // of the prompt
  bool continues = false;  // the line goes on from the one before
  std::vector<std::string> lines;
  bool changed = false;
  bool dropped = false;  // Ctrl-C was pressed in the line

  explicit Impl(const PromptOptions& options);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  static const char* prompt_text(EditLine* editor) {
    Impl* impl = nullptr;
    el_get(editor, EL_CLIENTDATA, &impl);
    return impl->continues ? "... " : impl->text.c_str();
  }

  // Ctrl-C while a line is edited: the line goes, the program stays.
  static unsigned char drop_line(EditLine* editor, int) {
    Impl* impl = nullptr;
    el_get(editor, EL_CLIENTDATA, &impl);
    impl->dropped = true;
    return CC_NEWLINE;
  }

  // Ctrl-Z: back to the shell, whose terminal is as it was, until "fg".
  static unsigned char suspend(EditLine* editor, int) {
    el_set(editor, EL_PREP_TERM, 0);
    ::raise(SIGTSTP);
    el_set(editor, EL_PREP_TERM, 1);
    return CC_REDISPLAY;
  }

  void remember(const std::string& question);
  // One line as it was typed; nullopt: Ctrl-D. Empty also after Ctrl-C, which `dropped` tells.
  std::optional<std::string> read();
};

Prompt::Impl::Impl(const PromptOptions& options)
    : editor(el_init("kvasir", stdin, stdout, stderr)),
      past(history_init()),
      path(history_path(options.history)),
      text(options.text),
      lines(load_history(path)) {
  if (editor == nullptr || past == nullptr) {
    throw Error(ErrorCode::kIo, "the terminal cannot be used for questions; give them with -q");
  }
  history(past, &event, H_SETSIZE, kHistoryLines);
  for (const std::string& line : lines) history(past, &event, H_ENTER, line.c_str());
  el_set(editor, EL_CLIENTDATA, this);
  el_set(editor, EL_PROMPT, &Impl::prompt_text);
  el_set(editor, EL_EDITOR, "emacs");
  el_set(editor, EL_HIST, history, past);
  // The wide form, because el_set copies the two names and never frees them.
  el_wset(editor, EL_ADDFN, L"kvasir-drop-line", L"Drop the line", drop_line);
  el_wset(editor, EL_ADDFN, L"kvasir-suspend", L"Suspend the program", suspend);
  el_set(editor, EL_GETCFN, read_character);
  // While a line is edited, Ctrl-C and Ctrl-Z are keys and not signals.
  el_set(editor, EL_SETTY, "-d", "-isig", nullptr);
  el_set(editor, EL_BIND, "^C", "kvasir-drop-line", nullptr);
  el_set(editor, EL_BIND, "^Z", "kvasir-suspend", nullptr);
  el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
}

Prompt::Impl::~Impl() {
  if (editor != nullptr) el_end(editor);
  if (past != nullptr) history_end(past);
}

void Prompt::Impl::remember(const std::string& question) {
  if (!lines.empty() && lines.back() == question) return;
  lines.push_back(question);
  history(past, &event, H_ENTER, question.c_str());
  changed = true;
}

Prompt::Prompt(const PromptOptions& options) : impl_(std::make_unique<Impl>(options)) {}

Prompt::~Prompt() {
  if (impl_->changed && !impl_->path.empty()) save_history(impl_->path, impl_->lines);
}

namespace {

std::string trimmed(std::string line) {
  line.erase(0, line.find_first_not_of(" \t\r\n"));
  line.erase(line.find_last_not_of(" \t\r\n") + 1);
  return line;
}

}  // namespace

std::optional<std::string> Prompt::Impl::read() {
  int length = 0;
  dropped = false;
  el_resize(editor);
  el_set(editor, EL_PREP_TERM, 1);  // before the prompt appears: a Ctrl-C right after it is a key, too
  const char* typed = el_gets(editor, &length);
  if (interrupt_flag() && interrupt_signal() == SIGINT) {  // sent by another program
    clear_interrupt();
    dropped = true;
  }
  check_interrupt();
  if (dropped) {
    std::fputs("\n", stdout);
    std::fflush(stdout);
    return std::string();
  }
  if (typed == nullptr || length <= 0) {
    std::fputs("\n", stdout);  // the shell's prompt shall begin a line of its own
    std::fflush(stdout);
    return std::nullopt;
  }
  return trimmed(std::string(typed, static_cast<std::size_t>(length)));
}

std::optional<std::string> Prompt::read_line() {
  while (true) {
    std::string all;
    for (impl_->continues = false;; impl_->continues = true) {
      const std::optional<std::string> line = impl_->read();
      if (!line) return std::nullopt;
      if (impl_->dropped) {
        all.clear();
        break;
      }
      const bool goes_on = line->ends_with('\\');
      all += goes_on ? line->substr(0, line->size() - 1) + '\n' : *line;
      if (!goes_on) break;
    }
    impl_->continues = false;
    all = trimmed(std::move(all));
    if (all.empty()) continue;
    if (all.find('\n') == std::string::npos) impl_->remember(all);
    return all;
  }
}

std::optional<std::string> Prompt::read_question() {
  while (true) {
    const std::optional<std::string> line = impl_->read();
    if (!line) return std::nullopt;
    if (line->empty()) continue;
    if (*line == ":quit" || *line == ":q") return std::nullopt;
    if (line->front() == ':') {
      std::fputs(*line == ":help" ? kHelp : "unknown command; :help lists them\n", stdout);
      std::fflush(stdout);
      continue;
    }
    impl_->remember(*line);
    return line;
  }
}

}  // namespace kvasir::cli
