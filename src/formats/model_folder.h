// The files of a model: a folder in the layout of Hugging Face, or a GGUF file. Each file that this hands out
// is read when it is first asked for and kept, so that model, tokenizer and reader do not each read it.
//
//   const formats::ModelFolder folder("models/kvasir-base");
//   folder.gguf();                                       // null: a folder
//   folder.config().string("model_type");                // of config.json
//   if (const auto json = folder.json("generation_config.json")) …
#pragma once

#include <concepts>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/json.h"

namespace kvasir::formats {

class GgufFile;

class ModelFolder {
 public:
  // Opens nothing yet. Not explicit, so that callers that load one thing can pass a path.
  template <std::convertible_to<std::filesystem::path> Path>
  ModelFolder(Path&& path) : path_(std::forward<Path>(path)) {}
  ModelFolder(const ModelFolder&) = delete;
  ModelFolder& operator=(const ModelFolder&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  bool has(std::string_view name) const;  // a file of that name

  // The GGUF file: the path itself, or the one in a folder without config.json; nullopt for a Hugging Face
  // folder. Throws kInvalidArgument if it holds several.
  std::optional<std::filesystem::path> gguf_path() const;
  // That file, open. Throws as GgufFile.
  std::shared_ptr<const GgufFile> gguf() const;

  // A JSON file of the folder; nullopt if it is not there. Valid as long as this is, and named by its path in
  // errors. Throws as base::parse_json_file, kFormat if it is no object.
  std::optional<base::JsonObject> json(const std::string& name) const;
  // config.json, which must be there: else kNotFound.
  base::JsonObject config() const;

 private:
  base::JsonObject read(const std::string& name) const;

  std::filesystem::path path_;
  mutable std::mutex mutex_;  // guards what follows
  mutable std::map<std::string, base::json::value, std::less<>> documents_;
  mutable std::shared_ptr<const GgufFile> gguf_;
};

}  // namespace kvasir::formats
