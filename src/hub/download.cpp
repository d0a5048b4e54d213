#include "hub/download.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "hub/checksum.h"
#include "hub/names.h"
#include "kvasir/error.h"

namespace kvasir::hub {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const fs::path& path, const char* what) {
  throw Error(ErrorCode::kIo, path.string() + ": " + what + ": " + std::strerror(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// Held while a blob is written, as the Python client does. File systems that know no locks do without: the
// checksum and the rename at the end keep what two writers make from becoming a blob.
class Lock {
 public:
  Lock(const fs::path& path, const HubOptions& options)
      : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0664)) {
    if (fd_.get() < 0) fail(path, "cannot be opened");
    while (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      if (options.cancel != nullptr && *options.cancel) throw Error(ErrorCode::kCancelled, "cancelled");
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

 private:
  Descriptor fd_;
};

std::string unquoted_etag(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return std::string(etag);
}

bool parse_size(std::string_view text, std::uint64_t& size) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

std::string url_of(const FileLocation& file, const HubOptions& options) {
  return options.endpoint + "/" + file.id + "/resolve/" + url_quote(file.revision, Slashes::kEncode) + "/" +
         url_quote(file.path, Slashes::kKeep);
}

// A file that grows: what was fetched so far, also by an earlier process.
class Partial {
 public:
  Partial(fs::path path, std::uint64_t expected)
      : path_(std::move(path)),
        expected_(expected),
        fd_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) {
    struct stat status {};
    if (fd_.get() < 0 || ::fstat(fd_.get(), &status) != 0) fail(path_, "cannot be written");
    size_ = static_cast<std::uint64_t>(status.st_size);
    if (size_ > expected_) restart();
    ::lseek(fd_.get(), 0, SEEK_END);
  }

  std::uint64_t size() const { return size_; }
  bool complete() const { return size_ == expected_; }

  void restart() {
    if (::ftruncate(fd_.get(), 0) != 0) fail(path_, "cannot be written");
    ::lseek(fd_.get(), 0, SEEK_SET);
    size_ = 0;
  }
  // False if more comes than the file should have.
  bool append(std::string_view bytes) {
    if (bytes.size() > expected_ - size_) return too_long_ = true, false;
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail(path_, "write failed");
      size_ += static_cast<std::uint64_t>(written);
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
  }
  bool too_long() const { return too_long_; }
  void sync() const {
    if (::fsync(fd_.get()) != 0) fail(path_, "write failed");
  }

 private:
  fs::path path_;
  std::uint64_t expected_;
  std::uint64_t size_ = 0;
  bool too_long_ = false;
  Descriptor fd_;
};

// Does a 206 continue where the file ends? "bytes 100-199/200".
bool continues_at(const http::Response& response, std::uint64_t size) {
  std::string_view range = response.header("content-range");
  if (!range.starts_with("bytes ")) return false;
  range.remove_prefix(6);
  std::uint64_t begin = 0;
  return parse_size(range.substr(0, range.find('-')), begin) && begin == size;
}

void fetch_bytes(const FileLocation& file, const FileMetadata& metadata, Partial& partial,
                 const HubOptions& options, const std::function<void(std::uint64_t)>& progress) {
  bool first = true;  // piece of an answer
  http::Exchange get{.url = metadata.url};
  get.headers = [&] {
    first = true;
    std::vector<std::string> headers;
    if (partial.size() > 0) headers.push_back("Range: bytes=" + std::to_string(partial.size()) + "-");
    return headers;
  };
  get.sink = [&](const http::Response& response, std::string_view bytes) {
    if (std::exchange(first, false)) {
      // A server that does not resume sends everything again.
      if (response.status != 206 && partial.size() > 0) partial.restart();
      if (response.status == 206 && !continues_at(response, partial.size())) {
        throw Error(ErrorCode::kFormat, metadata.url + ": the server continued at another place than asked");
      }
    }
    if (!partial.append(bytes)) return false;
    progress(partial.size());
    return true;
  };
  get.complete = [&] { return partial.complete() || partial.too_long(); };
  const http::Answer answer = http::exchange(get, http_options(options));
  if (partial.too_long()) {
    throw Error(ErrorCode::kFormat, file.id + ": " + file.path + " is longer than the " +
                                        std::to_string(metadata.size) + " bytes that the hub says");
  }
  check_status(answer.response, file, options);
}

}  // namespace

http::Options http_options(const HubOptions& options) {
  return {.timeout = options.timeout,
          .first_wait = options.first_wait,
          .tries = options.tries,
          .token = options.token,
          .endpoint = options.endpoint,
          .cancel = options.cancel};
}

void check_status(const http::Response& response, const FileLocation& file, const HubOptions& options) {
  if (response.status >= 200 && response.status < 400) return;
  const std::string code = response.header("x-error-code");
  const std::string at = " at " + options.endpoint;
  if (code == "GatedRepo") {
    throw Error(ErrorCode::kUnsupported, file.id + ": access to this model must be asked for at " +
                                             options.endpoint + "/" + file.id +
                                             (options.token.empty() ? ", and HF_TOKEN must be set" : ""));
  }
  if (code == "RevisionNotFound") {
    throw Error(ErrorCode::kNotFound, file.id + ": no revision " + file.revision + at);
  }
  if (code == "EntryNotFound") throw Error(ErrorCode::kNotFound, file.id + ": no file " + file.path + at);
  if (code == "RepoNotFound" || response.status == 401 || response.status == 404) {
    // The hub does not tell a model that is not there from one that is private.
    throw Error(ErrorCode::kNotFound, file.id + ": no such model" + at +
                                          (options.token.empty() ? "; if it is private, set HF_TOKEN"
                                                                 : ", or the token may not read it"));
  }
  throw Error(ErrorCode::kIo, file.id + ": the hub answered " + std::to_string(response.status) +
                                  (file.path.empty() ? "" : " for " + file.path));
}

FileMetadata fetch_metadata(const FileLocation& file, const HubOptions& options) {
  const http::Answer answer =
      http::exchange({.url = url_of(file, options), .head = true, .stay = true}, http_options(options));
  const http::Response& response = answer.response;
  check_status(response, file, options);
  const auto bad = [&](const std::string& what) {
    throw Error(ErrorCode::kFormat,
                answer.url + ": the answer " + what + "; is " + options.endpoint + " a hub?");
  };
  FileMetadata metadata{
      .commit = response.header("x-repo-commit"),
      .etag =
          unquoted_etag(response.header(response.header("x-linked-etag").empty() ? "etag" : "x-linked-etag")),
      .size = 0,
      .url = answer.url};
  if (!is_commit(metadata.commit)) bad("names no commit");
  if (!is_checksum(metadata.etag)) bad("has no checksum as its ETag");
  // The length of an answer that only points elsewhere is not that of the file.
  const bool redirect = response.is_redirect();
  const std::string& size = response.header(
      redirect || !response.header("x-linked-size").empty() ? "x-linked-size" : "content-length");
  if (!parse_size(size, metadata.size)) bad("does not tell the file's size");
  if (redirect) metadata.url = http::resolve_location(answer.url, response.header("location"));
  return metadata;
}

bool fetch_blob(const FileLocation& file, const FileMetadata& metadata, const Cache& cache,
                const HubOptions& options, const std::function<void(std::uint64_t)>& progress) {
  const fs::path blob = cache.repo_folder(file.id) / "blobs" / metadata.etag;
  const auto is_there = [&] {
    std::error_code error;
    return fs::file_size(blob, error) == metadata.size && !error;
  };
  std::error_code error;
  fs::create_directories(blob.parent_path(), error);
  if (!error) fs::create_directories(cache.lock_folder(file.id), error);
  if (error)
    throw Error(ErrorCode::kIo, blob.parent_path().string() + ": cannot be made: " + error.message());
  if (is_there()) return true;

  const Lock lock(cache.lock_folder(file.id) / (metadata.etag + ".lock"), options);
  if (is_there()) return true;  // another process was first
  const fs::path incomplete = blob.string() + ".incomplete";
  {
    Partial partial(incomplete, metadata.size);
    progress(partial.size());
    if (!partial.complete()) fetch_bytes(file, metadata, partial, options, progress);
    partial.sync();
  }
  if (const std::string checksum = checksum_of_file(incomplete, metadata.etag); checksum != metadata.etag) {
    fs::remove(incomplete, error);
    throw Error(ErrorCode::kFormat, file.id + ": " + file.path + " has the checksum " + checksum + ", and " +
                                        metadata.etag + " is due; it was changed on its way, try again");
  }
  fs::rename(incomplete, blob, error);
  if (error) throw Error(ErrorCode::kIo, blob.string() + ": cannot be written: " + error.message());
  return false;
}

}  // namespace kvasir::hub
