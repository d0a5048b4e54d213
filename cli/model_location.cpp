#include "model_location.h"

#include <cstdlib>
#include <system_error>

#include "hub/cache.h"
#include "hub/names.h"
#include "hub_options.h"
#include "kvasir/error.h"

namespace kvasir::cli {

namespace {

constexpr const char* kDefaultModel = "kvasir-base";

bool is_model(const std::filesystem::path& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder / "config.json", ignored);
}

// A folder goes before a model of that name; what can only be a path stays one, for an error that names it.
std::filesystem::path named_model(const std::string& given) {
  std::error_code ignored;
  if (std::filesystem::exists(given, ignored)) return given;
  const ModelName name = parse_model_name(given);
  if (!hub::is_repo_id(name.id)) return given;
  const hub::Cache cache(hub_options().cache);
  if (const auto folder = cache.find(name.id, name.revision)) return *folder;
  throw Error(ErrorCode::kNotFound, given + ": neither a folder nor a model in " + cache.root().string() +
                                        "; kvasir pull " + given + " fetches one of that name");
}

std::filesystem::path shipped_model() {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  std::filesystem::path installed =
      program.parent_path().parent_path() / "share" / "kvasir" / "models" / kDefaultModel;
  if (!error && is_model(installed)) return installed;
  std::filesystem::path source = std::filesystem::path(KVASIR_SOURCE_MODELS) / kDefaultModel;
  if (is_model(source)) return source;
  throw Error(ErrorCode::kNotFound, "the model that ships with kvasir is not at " + installed.string() +
                                        "; name a model with --model or KVASIR_MODEL");
}

}  // namespace

std::filesystem::path find_model(const std::string& given) {
  if (!given.empty()) return named_model(given);
  if (const char* name = std::getenv("KVASIR_MODEL"); name != nullptr && *name != '\0')
    return named_model(name);
  return shipped_model();
}

std::filesystem::path find_reader(const std::string& given) {
  return given.empty() ? shipped_model() : named_model(given);
}

}  // namespace kvasir::cli
