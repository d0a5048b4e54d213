// The cache of models on this machine, in the layout that all Hugging Face programs share:
//
//   models--ORG--NAME/refs/main              the commit that "main" was, 40 digits and no line feed
//   models--ORG--NAME/blobs/ETAG             the files, by checksum
//   models--ORG--NAME/snapshots/COMMIT/PATH  links to them: an ordinary model folder
//   .locks/models--ORG--NAME/ETAG.lock
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace kvasir::hub {

struct CachedFile {
  std::string name;  // within the snapshot
  std::uint64_t size = 0;
};

struct CachedRevision {
  std::string commit;
  std::vector<std::string> refs;  // "main", …
  std::filesystem::path folder;
  std::vector<CachedFile> files;
};

struct CachedModel {
  std::string id;
  std::uint64_t size = 0;  // of all blobs
  std::vector<CachedRevision> revisions;
};

class Cache {
 public:
  explicit Cache(std::filesystem::path root) : root_(std::move(root)) {}

  const std::filesystem::path& root() const noexcept { return root_; }
  std::filesystem::path repo_folder(const std::string& id) const;
  std::filesystem::path lock_folder(const std::string& id) const;
  std::filesystem::path snapshot(const std::string& id, const std::string& commit) const;

  // The folder of a model at a revision (a branch, a tag, a commit), if it is here and has a config.json.
  // Throws kInvalidArgument for an invalid id or revision.
  std::optional<std::filesystem::path> find(const std::string& id,
                                            const std::string& revision = "main") const;
  // Every model that has a snapshot, by id. Folders that are not models or cannot be read are left out.
  std::vector<CachedModel> models() const;
  std::optional<CachedModel> model(const std::string& id) const;

  // Deletes a model with all its revisions; returns the number of bytes freed. Throws kNotFound, kIo.
  std::uint64_t remove(const std::string& id) const;

  // Records that `revision` is this commit.
  void write_ref(const std::string& id, const std::string& revision, const std::string& commit) const;
  // Makes snapshots/COMMIT/PATH a link to the blob.
  void link(const std::string& id, const std::string& commit, const std::string& path,
            const std::string& etag) const;

 private:
  std::filesystem::path root_;
};

}  // namespace kvasir::hub
