#include "text_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/utf8.h"
#include "documents/formats.h"
#include "interrupt.h"
#include "kvasir/error.h"
#include "output.h"

namespace kvasir::cli {

namespace {

// A text of this size takes hours to read through a model on a few cores; larger ones are mistakes or need an
// index.
constexpr std::size_t kMaxBytes = std::size_t{256} << 20;
// How much of a file is looked at before the rest is read.
constexpr std::size_t kProbe = 8192;

[[noreturn]] void fail(ErrorCode code, const std::string& name, const std::string& what) {
  throw Error(code, name + ": " + what);
}

[[noreturn]] void fail_system(const std::string& name, const char* what, int error) {
  fail(error == ENOENT || error == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo, name,
       std::string(what) + ": " + std::strerror(error));
}

[[noreturn]] void fail_size(const std::string& name) {
  fail(ErrorCode::kResourceExhausted, name,
       "larger than the limit of " + std::to_string(kMaxBytes >> 20) + " MiB; split it into parts");
}

// Reads to the end, with the checks that save reading more.
std::string read_descriptor(int fd, std::size_t size_hint, const std::string& name) {
  std::string text;
  text.resize(std::max<std::size_t>(size_hint + 1, 65536));  // one more byte, so that the end is seen at once
  std::size_t filled = 0;
  bool probed = false;
  while (true) {
    if (!wait_readable(fd)) check_interrupt();
    if (filled == text.size()) text.resize(text.size() * 2);
    const ssize_t got =
        ::read(fd, text.data() + filled, std::min<std::size_t>(text.size() - filled, 1U << 20));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_system(name, "cannot be read", errno);
    filled += static_cast<std::size_t>(got);
    if (!probed && filled >= kProbe) {
      probed = true;
      documents::check_beginning(std::string_view(text).substr(0, filled), {.name = name});
    }
    if (filled > kMaxBytes) fail_size(name);
    if (got == 0) break;
  }
  text.resize(filled);
  return text;
}

struct Descriptor {
  int fd;
  ~Descriptor() { ::close(fd); }
};

}  // namespace

std::string TextSource::display_name() const {
  switch (kind) {
    case Kind::kStandardInput:
      return "standard input";
    case Kind::kCommandLine:
      return "the text of --context";
    case Kind::kFile:
      break;
  }
  return path;
}

void check_utf8(std::string_view bytes, const std::string& where) {
  const std::size_t invalid = base::find_invalid_utf8(bytes);
  if (invalid == bytes.size()) return;
  fail(ErrorCode::kInvalidArgument, where,
       "not UTF-8 at byte " + std::to_string(invalid) +
           "; convert it first, for example: iconv -f WINDOWS-1252 -t UTF-8");
}

namespace {

std::string read_bytes(const std::string& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) {
    check_interrupt();  // a named pipe without a writer waits in open()
    fail_system(path, "cannot be opened", errno);
  }
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) fail_system(path, "cannot be read", errno);
  if (S_ISDIR(status.st_mode)) fail(ErrorCode::kIo, path, "is a folder");
  const auto size = static_cast<std::size_t>(std::max<off_t>(status.st_size, 0));
  if (S_ISREG(status.st_mode) && size > kMaxBytes) fail_size(path);
  return read_descriptor(file.fd, S_ISREG(status.st_mode) ? size : 0, path);
}

// Documents of a folder and its folders, sorted; hidden ones and linked folders are left out.
std::vector<std::string> files_of(const std::string& folder) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, fs::directory_options::skip_permission_denied, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    check_interrupt();
    if (entry->path().filename().native().starts_with('.')) {
      if (entry->is_directory(error)) entry.disable_recursion_pending();
    } else if (entry->is_regular_file(error)) {
      files.push_back(entry->path().native());
    }
  }
  if (error) fail(ErrorCode::kIo, folder, "cannot be listed: " + error.message());
  std::ranges::sort(files);
  return files;
}

// A file of a folder that nobody named is left out if it is no document.
bool is_no_document(const Error& error) {
  return error.code() == ErrorCode::kInvalidArgument || error.code() == ErrorCode::kUnsupported;
}

void read_folder(const std::string& folder, std::vector<TextSource>& sources) {
  const std::size_t before = sources.size();
  std::size_t left_out = 0, bytes = 0;
  for (const std::string& file : files_of(folder)) {
    try {
      sources.push_back(read_text(file));
      bytes += sources.back().text.size();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled) throw;
      if (is_no_document(error)) {
        ++left_out;
      } else {
        complain("left out: " + std::string(error.what()));
      }
    }
    if (bytes > kMaxBytes) fail_size(folder);
  }
  if (sources.size() == before)
    fail(ErrorCode::kNotFound, folder, "is a folder without a file that can be searched");
  if (left_out > 0) {
    complain(folder + ": left out " + std::to_string(left_out) +
             (left_out == 1 ? " file that is" : " files that are") + " no document");
  }
}

TextSource as_plain(TextSource source) {
  if (source.text.empty()) {
    fail(ErrorCode::kInvalidArgument, source.display_name(), "empty; there is nothing to search");
  }
  check_utf8(source.text, source.display_name());
  source.layout.format = "text";
  source.layout.verbatim = true;
  return source;
}

}  // namespace

TextSource read_text(const std::string& path) {
  TextSource source;
  source.path = path;
  std::string bytes;
  if (path == "-") {
    source.kind = TextSource::Kind::kStandardInput;
    bytes = read_descriptor(STDIN_FILENO, 0, source.display_name());
  } else {
    bytes = read_bytes(path);
  }
  source.layout = convert(std::move(bytes), {.name = source.display_name(), .cancel = &interrupt_flag()});
  source.text = std::move(source.layout.text);
  return source;
}

TextSource read_plain_input() {
  TextSource source;
  source.path = "-";
  source.kind = TextSource::Kind::kStandardInput;
  source.text = read_descriptor(STDIN_FILENO, 0, source.display_name());
  return as_plain(std::move(source));
}

std::vector<TextSource> read_texts(const std::vector<std::string>& paths) {
  std::vector<TextSource> sources;
  for (const std::string& path : paths) {
    std::error_code error;
    if (path != "-" && std::filesystem::is_directory(path, error)) {
      read_folder(path, sources);
    } else {
      sources.push_back(read_text(path));
      const ConvertedText& layout = sources.back().layout;
      if (layout.format == "text" && layout.encoding != "UTF-8") {
        complain(sources.back().display_name() + ": read as " + layout.encoding);
      }
    }
  }
  return sources;
}

TextSource command_line_text(std::string text) {
  TextSource source;
  source.kind = TextSource::Kind::kCommandLine;
  source.text = std::move(text);
  return as_plain(std::move(source));
}

}  // namespace kvasir::cli
