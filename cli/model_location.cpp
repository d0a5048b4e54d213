#include "model_location.h"

#include <cstdlib>
#include <system_error>

#include "command.h"
#include "hub_options.h"
#include "kvasir/error.h"
#include "kvasir/hub.h"

namespace kvasir::cli {

namespace {

constexpr const char* kDefaultModel = "kvasir-base";

bool is_model(const std::filesystem::path& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder / "config.json", ignored);
}

std::filesystem::path named_model(const std::string& given) {
  return resolve_model(given, {.cache = hub_cache()});
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

std::filesystem::path find_named_model(const std::string& given, const std::string& what) {
  const char* name = std::getenv("KVASIR_MODEL");
  if (given.empty() && (name == nullptr || *name == '\0')) {
    throw UsageError("no " + what + "; name one with --model or KVASIR_MODEL");
  }
  return find_model(given);
}

std::filesystem::path find_reader(const std::string& given) {
  return given.empty() ? shipped_model() : named_model(given);
}

}  // namespace kvasir::cli
