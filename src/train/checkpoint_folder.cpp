#include "train/checkpoint_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "kvasir/error.h"

namespace kvasir::train {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kPrefix = "checkpoint-", kTemporary = ".tmp-", kOld = ".old-";

[[noreturn]] void fail(const fs::path& path, const std::string& what, int error) {
  throw Error(ErrorCode::kIo, path.string() + ": " + what + ": " + std::strerror(error));
}

// What the system says to a call that returns 0 or -1.
void check(int result, const fs::path& path, const std::string& what) {
  if (result != 0) fail(path, what, errno);
}

void remove_folder(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) fail(path, "cannot be removed", error.value());
}

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : ".";
}

// ".checkpoint-500.tmp-1234"
fs::path hidden_sibling(const fs::path& path, std::string_view kind) {
  std::string name = "." + path.filename().string();
  name += kind;
  return path.parent_path() / (name + std::to_string(::getpid()));
}

void sync(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(path, "cannot be opened", errno);
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  // Some network file systems cannot sync a folder.
  if (error != 0 && error != EINVAL) fail(path, "write failed", error);
}

template <class Integer>
std::optional<Integer> parse_number(std::string_view text) {
  Integer value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A hidden name taken apart.
struct Leftover {
  std::string name;  // "checkpoint-500"
  bool is_old = false;
  pid_t pid = 0;
};
std::optional<Leftover> parse_leftover(std::string_view name) {
  if (!name.starts_with("." + std::string(kPrefix))) return std::nullopt;
  for (const std::string_view kind : {kTemporary, kOld}) {
    const std::size_t at = name.rfind(kind);
    if (at == std::string_view::npos) continue;
    const auto pid = parse_number<pid_t>(name.substr(at + kind.size()));
    if (pid && *pid > 0)
      return Leftover{.name = std::string(name.substr(1, at - 1)), .is_old = kind == kOld, .pid = *pid};
  }
  return std::nullopt;
}

bool runs(pid_t pid) {
  return pid != ::getpid() && (::kill(pid, 0) == 0 || errno != ESRCH);
}

// Sorted, because the order of a folder's entries is nobody's promise.
std::vector<fs::path> entries(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator iterator(folder, error);
  if (error == std::errc::no_such_file_or_directory) return {};
  if (error) fail(folder, "cannot be listed", error.value());
  std::vector<fs::path> paths;
  for (const fs::directory_entry& entry : iterator) paths.push_back(entry.path());
  std::ranges::sort(paths);
  return paths;
}

// Files before the folders that they are in.
void sync_all(const fs::path& folder) {
  std::error_code ignored;
  for (const fs::path& path : entries(folder)) {
    const fs::file_status status = fs::symlink_status(path, ignored);
    if (fs::is_directory(status)) {
      sync_all(path);
    } else if (fs::is_regular_file(status)) {
      sync(path);
    }
  }
  sync(folder);
}

}  // namespace

FolderWriter::FolderWriter(fs::path final_path) : final_(std::move(final_path)) {
  if (!final_.has_filename()) final_ = final_.parent_path();  // "out/checkpoint-5/"
  temporary_ = hidden_sibling(final_, kTemporary);
  std::error_code error;
  fs::create_directories(parent_of(final_), error);
  if (error) fail(parent_of(final_), "cannot be made", error.value());
  remove_folder(temporary_);  // of a process that had this number before
  check(::mkdir(temporary_.c_str(), 0777), temporary_, "cannot be made");
}

FolderWriter::~FolderWriter() {
  if (committed_) return;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
}

void FolderWriter::commit() {
  sync_all(temporary_);
  const fs::path old = hidden_sibling(final_, kOld);
  const bool replaces = fs::exists(fs::symlink_status(final_));
  if (replaces) {
    remove_folder(old);
    check(::rename(final_.c_str(), old.c_str()), final_, "cannot be replaced");
  }
  if (::rename(temporary_.c_str(), final_.c_str()) != 0) {
    const int error = errno;
    if (replaces) check(::rename(old.c_str(), final_.c_str()), old, "cannot be renamed back");
    fail(final_, "cannot be written", error);
  }
  committed_ = true;
  // The folder is there now: what fails from here on is no reason to say that it is not.
  try {
    sync(parent_of(final_));
    if (replaces) remove_folder(old);
  } catch (const Error& error) {
    base::log(LogLevel::kWarning, error.what());
  }
}

void write_folder(const fs::path& final_path, const std::function<void(const fs::path&)>& write) {
  try {
    FolderWriter writer(final_path);
    write(writer.path());
    writer.commit();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kIo) throw;
    throw Error(ErrorCode::kIo, final_path.string() + ": was not written (" + error.what() +
                                    "); earlier checkpoints are untouched");
  }
}

bool is_complete(const fs::path& checkpoint) {
  std::error_code ignored;
  return std::ranges::all_of(
      std::initializer_list<const char*>{"trainer_state.json", "model.safetensors", "optimizer.safetensors"},
      [&](const char* name) { return fs::is_regular_file(checkpoint / name, ignored); });
}

std::vector<Checkpoint> list_checkpoints(const fs::path& output_dir) {
  std::vector<Checkpoint> checkpoints;
  for (const fs::path& path : entries(output_dir)) {
    const std::string name = path.filename().string();
    if (!name.starts_with(kPrefix) || !is_complete(path)) continue;
    const auto step = parse_number<std::uint64_t>(std::string_view(name).substr(kPrefix.size()));
    if (step) checkpoints.push_back({.step = *step, .path = path});
  }
  std::ranges::sort(checkpoints, {}, &Checkpoint::step);
  return checkpoints;
}

std::vector<fs::path> remove_old_checkpoints(const fs::path& output_dir, const CheckpointLimit& limit) {
  std::vector<Checkpoint> checkpoints = list_checkpoints(output_dir);
  std::vector<fs::path> removed;
  if (limit.save_total_limit == 0 || checkpoints.size() <= limit.save_total_limit) return removed;
  std::size_t kept = limit.save_total_limit;
  std::error_code ignored;
  const auto best = std::ranges::find_if(checkpoints, [&](const Checkpoint& checkpoint) {
    return !limit.best.empty() && fs::equivalent(checkpoint.path, limit.best, ignored);
  });
  if (best != checkpoints.end() && best + 1 != checkpoints.end()) {
    // The best goes next to the newest, and both stay.
    std::rotate(best, best + 1, checkpoints.end() - 1);
    kept = std::max<std::size_t>(kept, 2);
  }
  for (std::size_t i = 0; i + kept < checkpoints.size(); ++i) {
    // Hidden first: if this process is killed now, nobody takes what is left of it for a checkpoint.
    const fs::path hidden = hidden_sibling(checkpoints[i].path, kTemporary);
    check(::rename(checkpoints[i].path.c_str(), hidden.c_str()), checkpoints[i].path, "cannot be removed");
    remove_folder(hidden);
    removed.push_back(checkpoints[i].path);
  }
  return removed;
}

void remove_leftovers(const fs::path& output_dir) {
  for (const fs::path& path : entries(output_dir)) {
    const std::optional<Leftover> leftover = parse_leftover(path.filename().string());
    if (!leftover || runs(leftover->pid)) continue;
    const fs::path original = output_dir / leftover->name;
    if (leftover->is_old && !fs::exists(original)) {
      check(::rename(path.c_str(), original.c_str()), path, "cannot be renamed back");
    } else {
      remove_folder(path);
    }
  }
}

}  // namespace kvasir::train
