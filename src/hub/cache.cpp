#include "hub/cache.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <system_error>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "hub/names.h"
#include "kvasir/error.h"

namespace kvasir::hub {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const fs::path& path, const char* what, const std::error_code& error) {
  throw Error(ErrorCode::kIo, path.string() + ": " + what + ": " + error.message());
}

void make_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(folder, "cannot be made", error);
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    paths.push_back(at->path());
  }
  std::ranges::sort(paths);
  return paths;
}

// All files below a folder, by their paths within it.
std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (!at->is_directory(ignored)) paths.push_back(at->path().lexically_relative(folder));
  }
  std::ranges::sort(paths);
  return paths;
}

// The commit in a ref file; "" if it holds none. Other programs may end it with a line feed.
std::string read_ref(const fs::path& path) {
  try {
    std::string text = base::read_file(path, {.max_bytes = 4096});
    text.erase(text.find_last_not_of(" \t\r\n") + 1);
    return is_commit(text) ? text : std::string();
  } catch (const Error&) {
    return {};
  }
}

std::uint64_t size_of(const fs::path& path) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  return error ? 0 : size;
}

std::uint64_t size_below(const fs::path& folder) {
  std::uint64_t size = 0;
  for (const fs::path& name : files_below(folder)) {
    std::error_code ignored;
    if (!fs::is_symlink(folder / name, ignored)) size += size_of(folder / name);
  }
  return size;
}

}  // namespace

fs::path Cache::repo_folder(const std::string& id) const {
  check_repo_id(id);
  return root_ / repo_folder_name(id);
}

fs::path Cache::lock_folder(const std::string& id) const {
  check_repo_id(id);
  return root_ / ".locks" / repo_folder_name(id);
}

fs::path Cache::snapshot(const std::string& id, const std::string& commit) const {
  return repo_folder(id) / "snapshots" / commit;
}

std::optional<fs::path> Cache::find(const std::string& id, const std::string& revision) const {
  check_revision(revision);
  const std::string commit = is_commit(revision) ? revision : read_ref(repo_folder(id) / "refs" / revision);
  if (commit.empty()) return std::nullopt;
  fs::path folder = snapshot(id, commit);
  std::error_code ignored;
  if (!fs::exists(folder / "config.json", ignored)) return std::nullopt;
  return folder;
}

std::optional<CachedModel> Cache::model(const std::string& id) const {
  const fs::path repo = repo_folder(id);
  CachedModel model{.id = id, .size = size_below(repo / "blobs"), .revisions = {}};
  std::multimap<std::string, std::string> refs;
  for (const fs::path& name : files_below(repo / "refs"))
    refs.emplace(read_ref(repo / "refs" / name), name.string());
  for (const fs::path& folder : entries(repo / "snapshots")) {
    CachedRevision revision{.commit = folder.filename().string(), .refs = {}, .folder = folder, .files = {}};
    if (!is_commit(revision.commit)) continue;
    const auto [begin, end] = refs.equal_range(revision.commit);
    for (auto at = begin; at != end; ++at) revision.refs.push_back(at->second);
    for (const fs::path& name : files_below(folder)) {
      revision.files.push_back({.name = name.string(), .size = size_of(folder / name)});
    }
    model.revisions.push_back(std::move(revision));
  }
  if (model.revisions.empty()) return std::nullopt;
  return model;
}

std::vector<CachedModel> Cache::models() const {
  std::vector<CachedModel> models;
  for (const fs::path& folder : entries(root_)) {
    const std::string id = repo_id_of_folder(folder.filename().string());
    if (id.empty()) continue;
    if (std::optional<CachedModel> found = model(id)) models.push_back(std::move(*found));
  }
  return models;
}

std::uint64_t Cache::remove(const std::string& id) const {
  const fs::path repo = repo_folder(id);
  std::error_code error;
  if (!fs::is_directory(repo, error)) {
    throw Error(ErrorCode::kNotFound, id + ": not in " + root_.string() + "; see kvasir list");
  }
  const std::uint64_t size = size_below(repo);
  fs::remove_all(repo, error);
  if (error) fail(repo, "cannot be removed", error);
  fs::remove_all(lock_folder(id), error);
  return size;
}

void Cache::write_ref(const std::string& id, const std::string& revision, const std::string& commit) const {
  if (revision == commit) return;
  const fs::path path = repo_folder(id) / "refs" / revision;
  make_folders(path.parent_path());
  base::AtomicFile file(path);
  file.write(commit);
  file.commit();
}

void Cache::link(const std::string& id, const std::string& commit, const std::string& path,
                 const std::string& etag) const {
  const fs::path link = snapshot(id, commit) / path;
  make_folders(link.parent_path());
  const fs::path target = (repo_folder(id) / "blobs" / etag).lexically_relative(link.parent_path());
  // A link cannot be changed: a new one takes the place of what is there, at once.
  const fs::path fresh = link.string() + "." + std::to_string(::getpid()) + ".tmp";
  std::error_code error;
  fs::remove(fresh, error);
  fs::create_symlink(target, fresh, error);
  if (!error) fs::rename(fresh, link, error);
  if (error) fail(link, "cannot be linked", error);
}

}  // namespace kvasir::hub
