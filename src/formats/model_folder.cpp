#include "formats/model_folder.h"

#include <algorithm>
#include <system_error>
#include <vector>

#include "formats/gguf.h"
#include "kvasir/error.h"

namespace kvasir::formats {

namespace fs = std::filesystem;

bool ModelFolder::has(std::string_view name) const {
  std::error_code ignored;
  return fs::exists(path_ / name, ignored);
}

std::optional<fs::path> ModelFolder::gguf_path() const {
  std::error_code ignored;
  if (path_.extension() == ".gguf" && !fs::is_directory(path_, ignored)) return path_;
  if (!fs::is_directory(path_, ignored) || has("config.json")) return std::nullopt;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path_, ignored)) {
    if (entry.path().extension() == ".gguf") found.push_back(entry.path());
  }
  if (found.empty()) return std::nullopt;
  std::ranges::sort(found);
  // The parts of one model name each other.
  const std::string first = found.front().filename().string();
  if (found.size() == 1 || first.find("-00001-of-") != std::string::npos) return found.front();
  throw Error(ErrorCode::kInvalidArgument,
              path_.string() + ": holds several models (" + first + ", …); name one of the files");
}

std::shared_ptr<const GgufFile> ModelFolder::gguf() const {
  const std::lock_guard lock(mutex_);
  if (gguf_ == nullptr) {
    if (const std::optional<fs::path> file = gguf_path()) gguf_ = std::make_shared<const GgufFile>(*file);
  }
  return gguf_;
}

std::optional<base::JsonObject> ModelFolder::json(const std::string& name) const {
  return has(name) ? std::optional(read(name)) : std::nullopt;
}

base::JsonObject ModelFolder::config() const {
  return read("config.json");
}

base::JsonObject ModelFolder::read(const std::string& name) const {
  const fs::path file = path_ / name;
  const std::lock_guard lock(mutex_);
  auto found = documents_.find(name);
  if (found == documents_.end()) found = documents_.emplace(name, base::parse_json_file(file)).first;
  return base::JsonObject(found->second, file.string());
}

}  // namespace kvasir::formats
