#include "models/registry.h"

#include <algorithm>
#include <optional>
#include <system_error>
#include <vector>

#include "kvasir/error.h"
#include "models/gguf/config.h"

namespace kvasir::models {

namespace {

struct Family {
  const char* model_type;
  std::unique_ptr<const QaModel> (*load)(const LoadContext&);
};
// clang-format off: a line for each
constexpr Family kFamilies[] = {
    {"bert", load_bert},
    {"distilbert", load_distilbert},
    {"roberta", load_roberta},
    {"xlm-roberta", load_roberta},
    {"electra", load_electra},
    {"albert", load_albert},
    {"mpnet", load_mpnet},
    {"mobilebert", load_mobilebert},
    {"modernbert", load_modernbert},
    {"deberta-v2", load_deberta_v2},
};
constexpr struct {
  const char* model_type;
  std::unique_ptr<const CausalLm> (*load)(const LoadContext&);
} kDecoders[] = {
    {"llama", load_llama},
    {"falcon", load_falcon},
    {"RefinedWebModel", load_falcon},  // what the first checkpoints of Falcon call it
    {"RefinedWeb", load_falcon},
    {"bloom", load_bloom},
    {"mpt", load_mpt},
};
// clang-format on

}  // namespace

const char* precision_name(Precision precision) noexcept {
  switch (precision) {
    case Precision::kAuto:
      return "auto";
    case Precision::kFp32:
      return "fp32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
  }
  return "unknown";
}

Precision parse_precision(std::string_view name) {
  if (name == "auto") return Precision::kAuto;
  if (name == "fp32") return Precision::kFp32;
  if (name == "bf16") return Precision::kBf16;
  if (name == "int8") return Precision::kInt8;
  throw Error(ErrorCode::kInvalidArgument,
              "unknown precision \"" + std::string(name) + "\"; use auto, fp32, bf16 or int8");
}

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

// The entry of a table of families that the model's model_type names.
template <class Families>
auto load_family(const Families& families, const std::filesystem::path& path, const LoadOptions& options,
                 bool keeps_half, const char* what) {
  const Opened opened = open_model(path);
  const ConfigReader config(base::JsonObject(opened.config, opened.origin));
  const std::string type = config.json().string("model_type");
  std::string known;
  for (const auto& family : families) {
    if (type == family.model_type) {
      return family.load({.folder = path,
                          .config = config,
                          .kernels = options.kernels,
                          .pool = options.pool,
                          .precision = options.precision,
                          .keeps_half = keeps_half,
                          .inventory = options.inventory,
                          .gguf = opened.gguf});
    }
    known += (known.empty() ? "" : ", ") + std::string(family.model_type);
  }
  throw Error(ErrorCode::kUnsupported, opened.origin + ": model_type " + type + what + known);
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

std::unique_ptr<const QaModel> load_qa_model(const std::filesystem::path& folder,
                                             const LoadOptions& options) {
  return load_family(kFamilies, folder, options, false, " has no question-answering head here; known: ");
}

std::unique_ptr<const CausalLm> load_causal_lm(const std::filesystem::path& folder,
                                               const LoadOptions& options) {
  return load_family(kDecoders, folder, options, true, " is no language model that is known here; known: ");
}

bool is_causal_lm(const std::filesystem::path& path) {
  if (gguf_path(path)) return true;
  const std::filesystem::path config = path / "config.json";
  const base::json::value document = base::parse_json_file(config);
  const std::string type = base::JsonObject(document, config.string()).string_or("model_type", "");
  return std::ranges::any_of(kDecoders, [&](const auto& family) { return type == family.model_type; });
}

}  // namespace kvasir::models
