// Folders of checkpoints: one that appears whole or not at all, and those of a run, as Hugging Face's Trainer
// keeps them: output_dir/checkpoint-500.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

namespace kvasir::train {

// A folder that is written under a temporary name beside its place, ".checkpoint-500.tmp-<pid>", synced, and
// renamed. One that is there is replaced: it is renamed to ".checkpoint-500.old-<pid>" first and removed
// last. If the machine stops in between, remove_leftovers() puts it back.
class FolderWriter {
 public:
  // Makes the temporary folder, and the folders above it. Throws kIo.
  explicit FolderWriter(std::filesystem::path final_path);
  ~FolderWriter();  // without commit(): removes the temporary folder
  FolderWriter(const FolderWriter&) = delete;
  FolderWriter& operator=(const FolderWriter&) = delete;

  // Where to write the files.
  const std::filesystem::path& path() const noexcept { return temporary_; }
  void commit();  // throws kIo

 private:
  std::filesystem::path final_, temporary_;
  bool committed_ = false;
};

// write(folder) fills a FolderWriter's folder, which is then committed. An error of writing (kIo: a full
// disk) says that what was there before is untouched.
void write_folder(const std::filesystem::path& final_path,
                  const std::function<void(const std::filesystem::path&)>& write);

// Whether it has model.safetensors, optimizer.safetensors, and trainer_state.json, which is written last.
bool is_complete(const std::filesystem::path& checkpoint);

struct Checkpoint {
  std::uint64_t step = 0;
  std::filesystem::path path;
};
// The complete folders checkpoint-N, by N. None if output_dir is not there.
std::vector<Checkpoint> list_checkpoints(const std::filesystem::path& output_dir);

struct CheckpointLimit {
  std::size_t save_total_limit = 0;  // 0: no limit
  std::filesystem::path best = {};   // a checkpoint that is kept; empty: none
};
// Removes the oldest checkpoints until so many are left. The newest stays, for going on, and the best; with a
// limit of one that may be two (Trainer._rotate_checkpoints). Returns what was removed. Throws kIo.
std::vector<std::filesystem::path> remove_old_checkpoints(const std::filesystem::path& output_dir,
                                                          const CheckpointLimit& limit);

// What killed runs left in output_dir: temporary folders are removed, folders that were about to be replaced
// are put back. Those of processes that run are left alone, but for this one's number: it has written nothing
// yet. Throws kIo.
void remove_leftovers(const std::filesystem::path& output_dir);

}  // namespace kvasir::train
