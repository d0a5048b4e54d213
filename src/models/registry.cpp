#include "models/registry.h"

#include <algorithm>

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

// The entry of a table of families that the model's model_type names.
template <class Families>
auto load_family(const Families& families, const formats::ModelFolder& folder, const LoadOptions& options,
                 bool keeps_half, const char* what) {
  const std::shared_ptr<const formats::GgufFile> gguf = folder.gguf();
  const base::json::value metadata = gguf == nullptr ? nullptr : config_from_gguf(*gguf);
  const ConfigReader config(gguf == nullptr ? folder.config()
                                            : base::JsonObject(metadata, folder.gguf_path()->string()));
  const std::string type = config.json().string("model_type");
  std::string known;
  for (const auto& family : families) {
    if (type == family.model_type) {
      return family.load({.folder = folder.path(),
                          .config = config,
                          .kernels = options.kernels,
                          .pool = options.pool,
                          .precision = options.precision,
                          .keeps_half = keeps_half,
                          .inventory = options.inventory,
                          .gguf = gguf});
    }
    known += (known.empty() ? "" : ", ") + std::string(family.model_type);
  }
  throw Error(ErrorCode::kUnsupported, config.json().origin() + ": model_type " + type + what + known);
}

}  // namespace

std::unique_ptr<const QaModel> load_qa_model(const formats::ModelFolder& folder, const LoadOptions& options) {
  return load_family(kFamilies, folder, options, false, " has no question-answering head here; known: ");
}

std::unique_ptr<const CausalLm> load_causal_lm(const formats::ModelFolder& folder,
                                               const LoadOptions& options) {
  return load_family(kDecoders, folder, options, true, " is no language model that is known here; known: ");
}

bool is_causal_lm(const formats::ModelFolder& folder) {
  if (folder.gguf_path()) return true;
  const std::string type = folder.config().string_or("model_type", "");
  return std::ranges::any_of(kDecoders, [&](const auto& family) { return type == family.model_type; });
}

}  // namespace kvasir::models
