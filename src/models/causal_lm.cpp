#include "models/causal_lm.h"

#include <algorithm>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "kvasir/error.h"
#include "models/gguf_config.h"
#include "models/inventory.h"
#include "models/registry.h"
#include "models/weight_checker.h"
#include "models/weight_loader.h"

namespace kvasir::models {

namespace {

// Where a model is, and what it says about itself.
struct Opened {
  std::string origin;
  base::json::value config;
  std::shared_ptr<const formats::GgufFile> gguf;  // null: a folder
};

Opened open_model(const std::filesystem::path& path) {
  if (const std::optional<std::filesystem::path> file = gguf_path(path)) {
    auto gguf = std::make_shared<const formats::GgufFile>(*file);
    base::json::value config = config_from_gguf(*gguf);
    return {.origin = file->string(), .config = std::move(config), .gguf = std::move(gguf)};
  }
  const std::filesystem::path config = path / "config.json";
  return {.origin = config.string(), .config = base::parse_json_file(config), .gguf = nullptr};
}

WeightSource open_weights(const Opened& opened, const std::filesystem::path& path, const ConfigReader& config,
                          const char* prefix) {
  if (opened.gguf == nullptr) return WeightSource(path, prefix);
  return WeightSource(opened.gguf, config.json(), prefix);
}

}  // namespace

std::optional<std::filesystem::path> gguf_path(const std::filesystem::path& model) {
  std::error_code ignored;
  if (model.extension() == ".gguf" && !std::filesystem::is_directory(model, ignored)) return model;
  if (!std::filesystem::is_directory(model, ignored) ||
      std::filesystem::exists(model / "config.json", ignored)) {
    return std::nullopt;
  }
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(model, ignored)) {
    if (entry.path().extension() == ".gguf") found.push_back(entry.path());
  }
  if (found.empty()) return std::nullopt;
  std::ranges::sort(found);
  // The parts of one model name each other.
  const std::string first = found.front().filename().string();
  if (found.size() == 1 || first.find("-00001-of-") != std::string::npos) return found.front();
  throw Error(ErrorCode::kInvalidArgument,
              model.string() + ": holds several models (" + first + ", …); name one of the files");
}

std::unique_ptr<const CausalLm> load_causal_lm(const std::filesystem::path& path,
                                               const LoadOptions& options) {
  const Opened opened = open_model(path);
  const ConfigReader config(base::JsonObject(opened.config, opened.origin));
  const DecoderFamily& family = decoder_family(config);
  WeightSource source = open_weights(opened, path, config, family.prefix);
  std::unique_ptr<CausalLm> model = family.model(config, source);
  WeightChecker checker(source);
  checker.check(*model);
  checker.finish();
  WeightLoader loader(source,
                      {.kernels = options.kernels, .precision = options.precision, .keeps_half = true});
  model->visit(loader);
  loader.run(options.pool);
  if (options.inventory != nullptr) {
    InventoryTaker taker(source, *options.inventory);
    std::as_const(*model).visit(taker);
  }
  source.warn_about_unused();
  return model;
}

bool is_causal_lm(const std::filesystem::path& path) {
  if (gguf_path(path)) return true;
  const std::filesystem::path config = path / "config.json";
  const base::json::value document = base::parse_json_file(config);
  return is_decoder_type(base::JsonObject(document, config.string()).string_or("model_type", ""));
}

}  // namespace kvasir::models
