#include "formats/checkpoint.h"

#include <algorithm>
#include <functional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/json.h"
#include "kvasir/error.h"

namespace kvasir::formats {

namespace {

constexpr std::string_view kIndexSuffix = ".index.json";
// The load order of transformers.
constexpr const char* kFiles[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                  "pytorch_model.bin.index.json"};

bool lies_in(std::span<const std::byte> bytes, const tensor::TensorView& view) {
  return std::less_equal<>()(bytes.data(), view.data) &&
         std::less_equal<>()(view.data + view.bytes(), bytes.data() + bytes.size());
}

// A shard is a file beside its index, of the same kind.
bool is_shard_name(std::string_view name, std::string_view extension) {
  return name.find_first_of("/\\") == std::string_view::npos && !name.starts_with('.') &&
         name.size() > extension.size() && name.ends_with(extension) &&
         std::ranges::none_of(name, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}

struct ShardName {
  const std::string& name;
  std::string_view extension;  // that is due
};
[[noreturn]] void fail_shard(const base::JsonObject& map, const std::string& tensor, const ShardName& shard) {
  map.fail("tensor " + tensor + " lies in \"" + shard.name + "\", which is not the name of a *" +
           std::string(shard.extension) + " file in this folder");
}

[[noreturn]] void fail_missing(const std::string& shard, const std::string& tensor,
                               const std::string& index) {
  throw Error(ErrorCode::kFormat, shard + ": tensor " + tensor + " is missing, and " +
                                      std::filesystem::path(index).filename().string() +
                                      " says that it is here; download the model again");
}

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& folder) {
  for (const char* name : kFiles) {
    const std::filesystem::path path = folder / name;
    std::error_code ignored;
    if (!std::filesystem::exists(std::filesystem::symlink_status(path, ignored))) continue;
    origin_ = path.string();
    if (std::string_view(name).ends_with(kIndexSuffix)) {
      open_index(folder, path);
    } else {
      open_file(path, nullptr);
    }
    return;
  }
  throw Error(ErrorCode::kNotFound, folder.string() +
                                        ": no weights: neither model.safetensors nor pytorch_model.bin, nor "
                                        "an index of either");
}

void Checkpoint::open_index(const std::filesystem::path& folder, const std::filesystem::path& index) {
  const base::json::value document = base::parse_json_file(index);
  const base::JsonObject map = base::JsonObject(document, origin_).object("weight_map");
  const bool torch = origin_.ends_with(".bin.index.json");
  const std::string_view extension = torch ? ".bin" : ".safetensors";
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [key, value] : map.raw()) {
    const std::string tensor(key), shard = map.string(tensor);
    if (!is_shard_name(shard, extension)) {
      fail_shard(map, tensor, {shard, extension});
    }
    shards[shard].push_back(tensor);
  }
  if (shards.empty()) map.fail("names no tensors");
  for (const auto& [shard, expected] : shards) {
    const std::filesystem::path path = folder / shard;
    if (!std::filesystem::exists(path)) {
      throw Error(ErrorCode::kNotFound, path.string() + ": is missing, and " + index.filename().string() +
                                            " names it; download the model again");
    }
    open_file(path, &expected);
  }
}

void Checkpoint::open_file(const std::filesystem::path& path, const std::vector<std::string>* expected) {
  if (path.extension() == ".bin") {
    add(std::make_unique<const TorchFile>(path), expected);
  } else {
    add(std::make_unique<const SafetensorsFile>(path), expected);
  }
}

template <class File>
void Checkpoint::add(std::unique_ptr<const File> file, const std::vector<std::string>* expected) {
  const std::string path = file->file().path().string();
  const auto add_tensor = [&](const std::string& name, const tensor::TensorView& view) {
    const bool mapped = lies_in(file->file().bytes(), view);
    tensors_.emplace(name, CheckpointTensor{view, path, mapped ? &file->file() : nullptr});
  };
  if (expected == nullptr) {
    for (const auto& [name, view] : file->tensors()) add_tensor(name, view);
  } else {
    for (const std::string& name : *expected) {
      const auto found = file->tensors().find(name);
      if (found == file->tensors().end()) {
        fail_missing(path, name, origin_);
      }
      add_tensor(name, found->second);
    }
  }
  if constexpr (std::is_same_v<File, TorchFile>) {
    torch_.push_back(std::move(file));
  } else {
    safetensors_.push_back(std::move(file));
  }
}

}  // namespace kvasir::formats
