#include "model_location.h"

#include <cstdlib>
#include <system_error>

#include "kvasir/error.h"

namespace kvasir::cli {

namespace {

constexpr const char* kDefaultModel = "kvasir-base";

bool is_model(const std::filesystem::path& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder / "config.json", ignored);
}

}  // namespace

std::filesystem::path find_model(const std::string& given) {
  if (!given.empty()) return given;
  if (const char* name = std::getenv("KVASIR_MODEL"); name != nullptr && *name != '\0') return name;

  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path installed =
      program.parent_path().parent_path() / "share" / "kvasir" / "models" / kDefaultModel;
  if (!error && is_model(installed)) return installed;
  const std::filesystem::path source = std::filesystem::path(KVASIR_SOURCE_MODELS) / kDefaultModel;
  if (is_model(source)) return source;
  throw Error(ErrorCode::kNotFound, "the model that ships with kvasir is not at " + installed.string() +
                                        "; name a model folder with --model DIR or KVASIR_MODEL");
}

}  // namespace kvasir::cli
