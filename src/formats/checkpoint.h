// The weights of a model folder, in whichever of the usual files they are stored.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "formats/checkpoint_tensor.h"
#include "formats/safetensors.h"
#include "formats/torch_file.h"

namespace kvasir::formats {

class Checkpoint {
 public:
  // Opens the first of model.safetensors, model.safetensors.index.json with its shards, pytorch_model.bin and
  // pytorch_model.bin.index.json with its shards. Throws kNotFound if there is none of them or a shard is
  // missing, and as SafetensorsFile and TorchFile; kFormat for an index that does not fit its shards or names
  // files outside the folder.
  explicit Checkpoint(const std::filesystem::path& folder);

  // Valid as long as the checkpoint is.
  const std::map<std::string, CheckpointTensor>& tensors() const noexcept { return tensors_; }
  const std::string& origin() const noexcept { return origin_; }  // the file or index, for errors

 private:
  void open_index(const std::filesystem::path& folder, const std::filesystem::path& index);
  // expected: the tensors that an index says are in the file; null: all that are there.
  void open_file(const std::filesystem::path& path, const std::vector<std::string>* expected);
  template <class File>
  void add(std::unique_ptr<const File> file, const std::vector<std::string>* expected);

  std::string origin_;
  std::vector<std::unique_ptr<const SafetensorsFile>> safetensors_;
  std::vector<std::unique_ptr<const TorchFile>> torch_;
  std::map<std::string, CheckpointTensor> tensors_;
};

}  // namespace kvasir::formats
