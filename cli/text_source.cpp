#include "text_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/utf8.h"
#include "interrupt.h"
#include "kvasir/error.h"

namespace kvasir::cli {

namespace {

// A text of this size takes hours to read through a model on a few cores; larger ones are mistakes or need an
// index.
constexpr std::size_t kMaxBytes = std::size_t{256} << 20;
// How much of a file is looked at to tell text from binary data, as grep and git do.
constexpr std::size_t kBinaryProbe = 8192;
// One stray NUL does not make a text binary (extractors leave them); one in 50 bytes does (UTF-16 has one in
// two).
constexpr std::size_t kMaxNulShare = 50;

[[noreturn]] void fail(ErrorCode code, const std::string& name, const std::string& what) {
  throw Error(code, name + ": " + what);
}

[[noreturn]] void fail_system(const std::string& name, const char* what, int error) {
  fail(error == ENOENT || error == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo, name,
       std::string(what) + ": " + std::strerror(error));
}

struct Signature {
  std::string_view bytes;
  const char* advice;
};
// Formats that people take for text, by their first bytes.
constexpr std::array<Signature, 8> kSignatures = {{
    {"%PDF-", "is a PDF; extract its text first: pdftotext FILE - | kvasir ask -q QUESTION"},
    {"PK\x03\x04", "is a ZIP archive (Word, OpenDocument and EPUB files are too); extract its text first"},
    {"\x1f\x8b", "is compressed with gzip; unpack it first: gzip -dc FILE | kvasir ask -q QUESTION"},
    {"\x28\xb5\x2f\xfd", "is compressed with zstd; unpack it first: zstd -dc FILE | kvasir ask -q QUESTION"},
    {"\xfd"
     "7zXZ",
     "is compressed with xz; unpack it first: xz -dc FILE | kvasir ask -q QUESTION"},
    {"BZh", "is compressed with bzip2; unpack it first: bzip2 -dc FILE | kvasir ask -q QUESTION"},
    {"\xff\xfe", "is UTF-16 text; convert it first: iconv -f UTF-16 -t UTF-8 FILE"},
    {"\xfe\xff", "is UTF-16 text; convert it first: iconv -f UTF-16 -t UTF-8 FILE"},
}};

// Why these first bytes cannot be the beginning of a text; nullptr if they can.
const char* binary_advice(std::string_view probe) {
  const std::size_t invalid = base::find_invalid_utf8(probe);
  const std::size_t nuls = static_cast<std::size_t>(std::count(probe.begin(), probe.end(), '\0'));
  const bool utf8 =
      invalid == probe.size() || invalid + 4 > probe.size();  // a character may be cut at the end
  const bool pdf = probe.starts_with("%PDF-");
  if (utf8 && nuls * kMaxNulShare <= probe.size() && !pdf) return nullptr;
  for (const Signature& signature : kSignatures) {
    if (probe.starts_with(signature.bytes)) return signature.advice;
  }
  return nuls > 0 ? "is a binary file; kvasir reads plain UTF-8 text" : nullptr;
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
    if (!probed && (filled >= kBinaryProbe || got == 0)) {
      probed = true;
      const std::string_view probe = std::string_view(text).substr(0, std::min(filled, kBinaryProbe));
      if (const char* advice = binary_advice(probe)) fail(ErrorCode::kInvalidArgument, name, advice);
    }
    if (filled > kMaxBytes) fail_size(name);
    if (got == 0) break;
  }
  text.resize(filled);
  return text;
}

void check_text(const std::string& text, const std::string& name) {
  if (text.empty()) fail(ErrorCode::kInvalidArgument, name, "empty; there is nothing to search");
  check_utf8(text, name);
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

TextSource read_text(const std::string& path) {
  TextSource source;
  source.path = path;
  if (path == "-") {
    source.kind = TextSource::Kind::kStandardInput;
    source.text = read_descriptor(STDIN_FILENO, 0, source.display_name());
  } else {
    const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (file.fd < 0) {
      check_interrupt();  // a named pipe without a writer waits in open()
      fail_system(path, "cannot be opened", errno);
    }
    struct stat status {};
    if (::fstat(file.fd, &status) != 0) fail_system(path, "cannot be read", errno);
    if (S_ISDIR(status.st_mode)) {
      fail(ErrorCode::kIo, path, "is a folder; name the files in it, for example: " + path + "/*.txt");
    }
    const auto size = static_cast<std::size_t>(std::max<off_t>(status.st_size, 0));
    if (S_ISREG(status.st_mode) && size > kMaxBytes) fail_size(path);
    source.text = read_descriptor(file.fd, S_ISREG(status.st_mode) ? size : 0, path);
  }
  check_text(source.text, source.display_name());
  return source;
}

TextSource command_line_text(std::string text) {
  TextSource source;
  source.kind = TextSource::Kind::kCommandLine;
  source.text = std::move(text);
  check_text(source.text, source.display_name());
  return source;
}

}  // namespace kvasir::cli
